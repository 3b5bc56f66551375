"""Picture figures of a generator: self-reenactment of people that nobody trained on, one photo a clip.

The first frame with a face is the photo, every fifth frame is painted from its 28 + 7 numbers and compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import metrics
from codec import raster
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import Floats, FrameParameters, Picture, ReferenceFrame
from codec.photo import decode_photo, encode_photo
from models.generator import DrivingFrame, Generator
from models.zoo import create
from training import dataset

EVERY = 5
FIRST_PHOTO = 7000
"""Bytes of the AVIF photo."""

FROZEN = "frozen"
"""In place of a generator's name: the photo, shown again and again."""

METRICS = ("l1", "psnr", "ssim", "lpips_alex", "lpips_vgg")


@dataclass(frozen=True)
class FittedClip:
    """Frames of one clip and their fits.

    name, identity_name: whose. pictures: (N, 256, 256, 3) uint8, the first is the photo. parameters: N fits, the last
    good one where the face was lost. identity: (K,) p_id.
    """

    name: str
    identity_name: str
    pictures: Picture
    parameters: tuple[FrameParameters, ...]
    identity: Floats


def fitted(clip: dataset.Clip, model: FaceModel, every: int = EVERY, cache: Path | str | None = None) -> FittedClip:
    """Fit a clip as a session does: every frame in order, the identity from its first seconds, then held."""
    landmarks = dataset.landmarks(clip, cache)
    fitter = Fitter(model)
    identity = fitter.fit(landmarks[0]).identity
    for points in landmarks[1:]:
        identity = fitter.fit(points).identity
    fitter = Fitter(model, identity=identity)
    fits = [fitter.fit(points) for points in landmarks]
    first = next((n for n, fit in enumerate(fits) if not fit.lost), 0)
    chosen = range(first, len(fits), every)
    pictures = [picture for n, picture in enumerate(dataset.frames(clip.path)) if n in chosen]
    parameters = tuple(fits[n].parameters for n in chosen)
    return FittedClip(clip.name, clip.identity, np.stack(pictures), parameters[: len(pictures)], identity)


def paint(generator: Generator, clip: FittedClip, photo: Picture, model: FaceModel) -> Picture:
    """(N - 1, 256, 256, 3) uint8: every picture of the clip but the first, painted from ``photo``."""
    generator.prepare(ReferenceFrame(0, photo, clip.parameters[0], clip.identity))
    neutral = model.neutral(clip.identity)
    painted = []
    for parameters in clip.parameters[1:]:
        vertices = model.project(model.express(neutral, parameters.expression), parameters.camera)
        frame = DrivingFrame(parameters, vertices, raster.rasterise(vertices, model.triangles))
        painted.append(generator.generate(frame))
    return np.stack(painted)


def run(
    data_dir: Path | str | None = None,
    models: Sequence[str] = (FROZEN, "warp"),
    split: dataset.Split = "validation",
    photo_bytes: Sequence[int | None] = (None, FIRST_PHOTO),
    every: int = EVERY,
    vgg: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``models`` on the people of ``split``.

    photo_bytes: budgets of the coded photo; None: the photo uncompressed. vgg: LPIPS-VGG too, which takes ten times
    as long as all the rest.
    Returns {"every", "identities", "frames", "results": [{"model", "photo_bytes" (mean, or None), metrics...,
    "by_identity", "clips"}]}: a result's figures are means over frames, those of "by_identity" give each person
    equal weight.
    """
    model = FaceModel.load()
    distances = {"lpips_alex": metrics.Lpips("alex")} | ({"lpips_vgg": metrics.Lpips("vgg")} if vgg else {})
    rows: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    for clip in _clips(data_dir, split, model, every):
        if progress:
            progress(clip.name)
        truth = clip.pictures[1:]
        for budget in photo_bytes:
            coded = None if budget is None else encode_photo(clip.pictures[0], budget)
            photo = clip.pictures[0] if coded is None else decode_photo(coded)
            for name in models:
                shown = np.broadcast_to(photo, truth.shape) if name == FROZEN else None
                if shown is None:
                    shown = paint(create(name, model), clip, photo, model)
                row = {"clip": clip.name, "identity": clip.identity_name, "frames": len(truth)}
                row["photo_bytes"] = None if coded is None else len(coded)
                row |= {key: float(value.mean()) for key, value in measure(truth, shown, distances).items()}
                rows.setdefault((name, budget), []).append(row)
    results = [_summary(name, clips) for (name, _), clips in rows.items()]
    first = results[0]["clips"] if results else []
    return {
        "every": every,
        "identities": len({row["identity"] for row in first}),
        "frames": sum(row["frames"] for row in first),
        "results": results,
    }


def measure(truth: Picture, shown: Picture, distances: dict[str, metrics.Lpips]) -> dict[str, metrics.Figures]:
    """metric -> (N,), one figure a picture."""
    figures = {"l1": metrics.l1(truth, shown), "psnr": metrics.psnr(truth, shown), "ssim": metrics.ssim(truth, shown)}
    return figures | {name: distance(truth, shown) for name, distance in distances.items()}


def _clips(data_dir: Path | str | None, split: dataset.Split, model: FaceModel, every: int) -> Iterator[FittedClip]:
    for clip in dataset.clips(data_dir, split):
        yield fitted(clip, model, every)


def _summary(name: str, clips: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in METRICS if key in clips[0]]
    weights = [row["frames"] for row in clips]
    people: dict[str, list[dict[str, Any]]] = {}
    for row in clips:
        people.setdefault(row["identity"], []).append(row)
    photos = [row["photo_bytes"] for row in clips]
    result: dict[str, Any] = {"model": name, "photo_bytes": None if photos[0] is None else float(np.mean(photos))}
    result |= {key: float(np.average([row[key] for row in clips], weights=weights)) for key in keys}
    result["by_identity"] = {
        key: float(
            np.mean(
                [np.average([r[key] for r in rows], weights=[r["frames"] for r in rows]) for rows in people.values()]
            )
        )
        for key in keys
    }
    return result | {"clips": clips}


def main() -> None:
    """Print the figures of the validation people as a table: ``python -m bench.pictures [--vgg]``."""
    figures = run(vgg="--vgg" in sys.argv)
    print(f"{figures['identities']} people, {figures['frames']} frames, every {figures['every']}th")
    print(f"{'model':10}{'photo':>8}" + "".join(f"{key:>12}" for key in METRICS))
    for result in figures["results"]:
        photo = "raw" if result["photo_bytes"] is None else f"{result['photo_bytes']:.0f} B"
        print(f"{result['model']:10}{photo:>8}" + "".join(f"{result[key]:12.4f}" for key in METRICS if key in result))


if __name__ == "__main__":
    main()
