"""The ablations of Table 3, trained alike, and what the face model buys in reenactment.

``python -m training.ablations --run runs/ablations --steps N`` trains the whole network and the three that lack a part,
one after the other with the same seed, samples and steps, and prints the table's rows. ``reenactment`` paints one
person with another's motion twice: with the mesh of the source's identity, as Eq. 1 has it, and with the driver's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import EXPRESSION, Camera, Floats, FrameParameters, Picture, ReferenceFrame
from codec.raster import rasterise
from models.generator import DrivingFrame, Generator
from training.headgan import HeadGANSettings, run
from training.loop import LoopSettings
from training.options import parsed
from training.pairs_store import StoredClip, open_store

COLUMNS = ("l1", "psnr", "lpips_alex", "lpips_vgg")


@dataclass(frozen=True)
class Row:
    """A row of Table 3: its name there, and what it changes."""

    name: str
    settings: HeadGANSettings


def rows(whole: HeadGANSettings) -> list[Row]:
    """The four networks. With a ``whole`` network without audio, "w/o audio" is that network and is left out."""
    found = [
        Row("HeadGAN", whole),
        Row("w/o F's decoder", replace(whole, flow=False)),
        Row("w/o 3DMM (landmark sketches)", replace(whole, sketches=True)),
    ]
    if whole.audio:
        # On the same clips: those without sound would be more to learn from.
        found.append(Row("w/o audio", replace(whole, audio=False, sounding=True)))
    return found


def train_all(whole: HeadGANSettings, loop: LoopSettings) -> dict[str, dict[str, float]]:
    """Train every row in a folder of its own below ``loop.run``, or go on; row's name -> figures, also in ``table3.json``.

    Raises UsageError where there are no held-out clips to judge by.
    """
    open_store(whole.store, "validation")
    table = {}
    for row in rows(whole):
        folder = "".join(c if c.isalnum() else "_" for c in row.name.lower())
        table[row.name] = run(row.settings, replace(loop, run=loop.run / folder))
    loop.run.mkdir(parents=True, exist_ok=True)
    (loop.run / "table3.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return table


def as_text(table: dict[str, dict[str, float]]) -> str:
    """The table as lines."""
    lines = [f"{'':32s}" + "".join(f"{column:>12s}" for column in COLUMNS)]
    for name, figures in table.items():
        lines.append(f"{name:32s}" + "".join(f"{figures.get(column, float('nan')):12.4f}" for column in COLUMNS))
    return "\n".join(lines)


@dataclass(frozen=True)
class Reenactment:
    """How much of the source is left, mean over pairs. Distances between the identity (p_id) fitted to what was painted
    and to each person's own, in standard deviations of the model; share: of the way from the source to the driver that
    it went.
    """

    to_source: float
    to_driver: float
    share: float
    pairs: int


def driving_frames(source: StoredClip, driver: StoredClip, whose: str, count: int) -> Iterator[DrivingFrame]:
    """The driver's first ``count`` good frames posed with the identity of ``source`` or of ``driver``."""
    if whose not in ("source", "driver"):
        raise UsageError(f"the mesh is the source's or the driver's, not {whose!r}")
    model = FaceModel.load()
    neutral = model.neutral((source if whose == "source" else driver).fit["identity"])
    for t in np.flatnonzero(driver.fit["good"])[:count]:
        vector = driver.fit["parameters"][t]
        shape = model.express(neutral, vector[:EXPRESSION])
        vertices = model.project(shape, Camera.from_vector(vector[EXPRESSION:]))
        yield DrivingFrame(FrameParameters.from_vector(vector), vertices, rasterise(vertices, model.triangles))


def reenact(
    make: Callable[[], Generator], source: StoredClip, driver: StoredClip, whose: str, count: int
) -> list[Picture]:
    """The source's photo with the driver's motion."""
    photo = int(source.usable_references[0])
    fit = FrameParameters.from_vector(source.fit["parameters"][source.reference_frames[photo]])
    generator = make()
    generator.prepare(ReferenceFrame(0, np.array(source.references[photo]), fit, source.fit["identity"]))
    return [generator.generate(frame) for frame in driving_frames(source, driver, whose, count)]


def reenactment(
    make: Callable[[], Generator],
    clips: Sequence[StoredClip],
    whose: str,
    landmarks: Callable[[Sequence[Picture]], Floats],
    count: int = 50,
) -> Reenactment:
    """Every person with the next one's motion. landmarks: pictures -> (T, 478, 3), NaN where no face is found."""
    people = list({clip.identity: clip for clip in clips}.values())
    found = []
    for source, driver in zip(people, people[1:] + people[:1], strict=True):
        fitter = Fitter()
        for points in landmarks(reenact(make, source, driver, whose, count)):
            fitter.fit(points)
        own, other = source.fit["identity"], driver.fit["identity"]
        way = other - own
        shown = fitter.identity - own
        share = float(shown @ way / max(float(way @ way), 1e-9))
        distances = [float(np.sqrt(np.mean((fitter.identity - x) ** 2))) for x in (own, other)]
        found.append((*distances, share))
    if not found:
        raise HeadwireError("reenactment needs clips of at least two people")
    means = np.mean(found, 0)
    return Reenactment(float(means[0]), float(means[1]), float(means[2]), len(found))


def face_mesh(pictures: Sequence[Picture]) -> Floats:
    """(T, 478, 3) landmarks of pictures, each by itself; NaN where no face is found."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    out = np.full((len(pictures), 478, 3), np.nan, np.float32)
    with FaceMesh(refine_landmarks=True, max_num_faces=1, static_image_mode=False) as mesh:
        for t, picture in enumerate(pictures):
            faces: Any = mesh.process(picture).multi_face_landmarks
            if faces:
                out[t] = np.array([(p.x, p.y, p.z) for p in faces[0].landmark]) * (256, 256, 256)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """One command for the whole table."""
    about = "Train the four networks of Table 3 alike and print its rows."
    whole, loop = parsed(about, (HeadGANSettings, LoopSettings), arguments, run=Path("runs/ablations"))
    print(as_text(train_all(whole, loop)))


if __name__ == "__main__":
    main()
