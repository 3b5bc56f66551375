"""``headwire bench paper``: the paper's tables 2 and 3 (reenactment, frontalisation) on the validation people.

Reenactment: each person's first frame moves as the next person of the list does (expression and head, one photo). Frontalisation:
each person's clip, its heads turned to the front. Figures have the names of ``bench.quality_metrics``, stand-ins their own: ARD,
``aed_mesh`` and ``au_mesh_hamming`` against the driver's frames, ``csim_dlib`` against the person's own, ``fid_vgg`` between what was
painted and the people's own frames. Other data and other people than the paper's: not to be compared digit by digit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import action_units, metrics
from bench.bar import Progress, progress_bar
from bench.codecs import Frames
from bench.frechet import frechet
from bench.metrics_faces import DlibFaces, cosine
from bench.quality_cells import settle
from bench.quality_clips import ClipFrames, find_clips, load_clip
from bench.quality_metrics import _fits, _landmarks, _pooled
from codec.errors import HeadwireError
from codec.fitting import Fitter
from codec.parameters import Floats, FrameParameters

SCHEMA = "headwire-paper/1"
MODELS = ("warp", "light")
SECONDS, EVERY = 3.0, 5
PUBLISHED: dict[str, dict[str, float]] = {
    "reenactment": {"fid": 58.0, "csim": 0.688, "ard": 1.35, "au_h": 0.326},
    "frontalisation": {"fid": 30.1, "csim": 0.766, "are": 0.76},
}
"""HeadGAN's, on VoxCeleb."""


@dataclass(frozen=True)
class Seen:
    """Some frames and what is known of them. landmarks, fits: of each, or None. deep: (N, 512), VGG16's. faces: dlib's, or None."""

    landmarks: tuple[Floats | None, ...]
    fits: tuple[FrameParameters | None, ...]
    deep: NDArray[np.float64]
    faces: tuple[NDArray[np.float64] | None, ...]


class Judge:
    """Looks at pictures; its networks are loaded once."""

    def __init__(self) -> None:
        settle()
        self._vgg = metrics.Lpips("vgg", half=True)
        self._dlib = DlibFaces.load()

    def look(self, frames: Frames) -> Seen:
        """At every ``EVERY``th of the frames."""
        some = frames[::EVERY]
        landmarks = _landmarks(some, tuple(range(len(some))))
        fitter = Fitter()
        for points in landmarks:
            if points is not None:
                fitter.fit(points)
        fits = _fits(landmarks, fitter.identity)
        deep = np.concatenate([_pooled(self._vgg.embed(frame)) for frame in some])
        faces = tuple(
            None if points is None or self._dlib is None else self._dlib.descriptor(frame, points)
            for frame, points in zip(some, landmarks, strict=True)
        )
        return Seen(landmarks, fits, deep, faces)


def run(
    clips: Path | None = None,
    models: Sequence[str] = MODELS,
    seconds: float = SECONDS,
    most: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """{"schema", "reenactment": {"published": .., model: ..}, "frontalisation": .., "failures": ..}: means over people.

    clips: as ``bench.quality_clips.find_clips`` takes them. Raises UsageError where there are fewer than two people.
    """
    report: dict[str, Any] = {"schema": SCHEMA, "failures": {}}
    judge, people = Judge(), []
    for path, start in find_clips(clips, most):
        try:
            people.append(load_clip(path, seconds, start))
        except HeadwireError as error:
            report["failures"][path.stem] = str(error)
    if len(people) < 2:
        raise HeadwireError("reenactment needs two people: give more clips with faces")
    own = [judge.look(person.frames) for person in people]
    tasks = [(task, model) for task in PUBLISHED for model in models]
    with progress_bar(progress) as tell, tempfile.TemporaryDirectory(prefix="headwire-paper-") as name:
        files = [_written(person, Path(name)) for person in people]
        for n, (task, model) in enumerate(tasks):
            rows, painted = [], []
            for k, person in enumerate(people):
                tell(f"{task} {model} {person.name}", n * len(people) + k, len(tasks) * len(people))
                driver = (k + 1) % len(people)
                try:
                    frames = _painted(task, model, files[k], files[driver], Path(name) / "out.mkv")
                except HeadwireError as error:
                    report["failures"][f"{task} {model} {person.name}"] = str(error)
                    continue
                painted.append(judge.look(frames))
                rows.append(figures(task, own[k], own[driver], painted[-1]))
            report.setdefault(task, {"published, VoxCeleb": PUBLISHED[task]})[f"{model} here"] = _means(
                rows, own, painted
            )
        tell("", 1, 1)
    return report


def figures(task: str, person: Seen, driver: Seen, painted: Seen) -> dict[str, float]:
    """Of one clip. person: whose face it is; driver: whose movement."""
    out: dict[str, list[float]] = {
        "csim_dlib": [],
        "are": [],
        "ard": [],
        "aed_mesh": [],
        "au_mesh_hamming": [],
        "face_found": [],
    }
    photo = next((face for face in person.faces if face is not None), None)
    for wanted, got, face in zip(driver.fits, painted.fits, painted.faces, strict=False):
        out["face_found"].append(float(got is not None))
        if photo is not None and face is not None:
            out["csim_dlib"].append(cosine(photo, face))
        if got is None:
            continue
        out["are"].append(float(np.degrees(np.abs(got.camera.rotation)).mean()))
        if wanted is not None:
            out["ard"].append(float(np.degrees(np.abs(got.camera.rotation - wanted.camera.rotation)).mean()))
            out["aed_mesh"].append(float(np.abs(got.expression - wanted.expression).mean()))
            out["au_mesh_hamming"].append(action_units.hamming(got.expression, wanted.expression))
    left_out = ("are",) if task == "reenactment" else ("ard", "aed_mesh", "au_mesh_hamming")
    return {name: float(np.mean(values)) for name, values in out.items() if values and name not in left_out}


def _means(rows: list[dict[str, float]], own: list[Seen], painted: list[Seen]) -> dict[str, float]:
    if not rows:
        return {}
    out = {name: float(f"{np.mean([row[name] for row in rows if name in row]):.4g}") for name in rows[0]}
    distance = frechet(*(np.concatenate([seen.deep for seen in group]) for group in (own, painted)))
    return out | ({} if distance is None else {"fid_vgg": float(f"{distance:.4g}")})


def _painted(task: str, model: str, person: tuple[Path, Path], driver: tuple[Path, Path], target: Path) -> Frames:
    from sender.editing import ReenactSettings, frontalise, reenact
    from training.dataset import frames

    photo, _ = person
    if task == "reenactment":
        reenact(ReenactSettings(photo, driver[1], target, model, absolute=True))
    else:
        frontalise(person[1], target, model)
    return np.stack(list(frames(target)))


def _written(person: ClipFrames, folder: Path) -> tuple[Path, Path]:
    """The photo (first frame) and the clip as files."""
    from PIL import Image

    from receiver.sinks import open_sink

    photo, clip = folder / f"{person.name}.png", folder / f"{person.name}.mkv"
    Image.fromarray(person.frames[0]).save(photo)
    with open_sink(str(clip), fps=person.fps, realtime=False) as sink:
        for n, picture in enumerate(person.frames):
            sink.show(picture, float(n / person.fps))
    return photo, clip
