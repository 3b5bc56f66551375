"""What the face model buys in reenactment: the mesh of the source's identity, as Eq. 1 has it, or of the driver's.

``python -m training.reenactment`` paints each held-out person with the next one's motion both ways and fits what was painted: with
PNCC of the driver's identity the source's face takes the driver's shape. Any generator that ``--model`` names; nothing is trained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import EXPRESSION, SIZE, Camera, Floats, FrameParameters, Picture, ReferenceFrame
from codec.raster import rasterise
from models.generator import DrivingFrame, Generator
from training.options import program
from training.pairs_store import StoredClip, open_store

WHOSE = ("source", "driver")


@dataclass(frozen=True)
class ReenactmentSettings:
    """model: a generator's name. weights: a file for ``headgan`` in place of the one in ``models/weights``. store: prepared clips,
    of which the held-out people are taken. frames: of each driver.
    """

    model: str = "headgan"
    weights: Path | None = None
    store: Path | None = None
    frames: int = 50


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
    if whose not in WHOSE:
        raise UsageError(f"the mesh is the source's or the driver's, not {whose!r}")
    model = FaceModel.load()
    neutral = model.neutral((source if whose == "source" else driver).fit["identity"])
    for t in np.flatnonzero(driver.fit["good"])[:count]:
        vector = driver.fit["parameters"][t]
        shape = model.express(neutral, vector[:EXPRESSION])
        vertices = model.project(shape, Camera.from_vector(vector[EXPRESSION:]))
        yield DrivingFrame(FrameParameters.from_vector(vector), vertices, rasterise(vertices, model.triangles))


def reenacted(
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
    if len(people) < 2:
        raise HeadwireError("reenactment needs clips of at least two people")
    found = []
    for source, driver in zip(people, people[1:] + people[:1], strict=True):
        fitter, faces = Fitter(), 0
        for points in landmarks(reenacted(make, source, driver, whose, count)):
            faces += not fitter.fit(points).lost
        if not faces:
            continue
        own, other = source.fit["identity"], driver.fit["identity"]
        way = other - own
        shown = fitter.identity - own
        share = float(shown @ way / max(float(way @ way), 1e-9))
        distances = [float(np.sqrt(np.mean((fitter.identity - x) ** 2))) for x in (own, other)]
        found.append((*distances, share))
    if not found:
        raise HeadwireError("no face was found in what was painted: train the network for longer")
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
                out[t] = np.array([(p.x, p.y, p.z) for p in faces[0].landmark]) * SIZE
    return out


def measure(
    settings: ReenactmentSettings, landmarks: Callable[[Sequence[Picture]], Floats] | None = None
) -> dict[str, dict[str, float]]:
    """Whose mesh -> ``Reenactment``'s figures. Raises UsageError for a model or store that is not there, HeadwireError where
    there are not two people, or no face is found in what was painted.
    """
    clips = open_store(settings.store, "validation")
    made = _maker(settings)
    return {whose: asdict(reenactment(made, clips, whose, landmarks or face_mesh, settings.frames)) for whose in WHOSE}


def _maker(settings: ReenactmentSettings) -> Callable[[], Generator]:
    face_model = FaceModel.load()
    if settings.weights is None:
        from models.zoo import create

        return lambda: create(settings.model, face_model)
    if settings.model != "headgan":
        raise UsageError(f"--weights is for headgan, not for {settings.model}: leave one of them out")
    from models.headgan import HeadGAN

    return lambda: HeadGAN(face_model, settings.weights)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both rows as JSON."""
    about = "What the source's identity in the mesh buys, beside the driver's."
    program(about, ReenactmentSettings, lambda settings: json.dumps(measure(settings), indent=1), arguments)


if __name__ == "__main__":
    main()
