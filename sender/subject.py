"""Who is edited and who drives: a photo or a video read as a person and as a performance."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.controls import own_neutral
from codec.errors import UsageError
from codec.face_model import GROUPS, FaceModel
from codec.fitting import Fitter
from codec.parameters import EXPRESSION, Floats, FrameParameters, Picture, ReferenceFrame, Region, Window
from codec.smoothing import Smoother
from sender.capture import open_source
from sender.crop import Square, cut
from sender.encoder import picture_reference
from sender.identity import SOLVE_AT, IdentityRefiner
from sender.reference import best_reference
from sender.tracking import FaceTracker

SAME_PHOTO = 4
"""Times that a lone photo's landmarks are taken in: the mesh then misses them by a quarter less than after one."""

CANDIDATES = 48
"""Frames of a video that are kept, evenly spread, to choose photos from: at most; at least half as many."""

PHOTOS = 8
"""Photos of a video that go into the memory, the base included."""

NEAR_POSE = 0.26
"""Radians that a further photo's head may be turned away from the base's."""

SURE = 0.5
"""Confidence of a fit that makes a frame a photo."""


@dataclass(frozen=True, eq=False)
class Person:
    """Whom to paint. photos: the base first, with ids from 0. identity: (K,). neutral: (28,), the expression that the fit gives
    the face at rest; zero where one photo cannot say it.
    """

    photos: tuple[ReferenceFrame, ...]
    identity: Floats
    neutral: Floats

    @property
    def base(self) -> ReferenceFrame:
        return self.photos[0]


@dataclass(frozen=True, eq=False)
class Performance:
    """What the face of a video does.

    fps: of the video. parameters: of each frame, steadied, in the coordinates of its own square; where no face was found those of
    the nearest frame before, with confidence 0. squares: where the 256x256 pictures lie. identity: (K,). candidates: frames kept
    to choose photos from: picture, (478, 3) landmarks.
    """

    fps: float
    parameters: list[FrameParameters]
    squares: list[Square]
    identity: Floats
    candidates: dict[int, tuple[Picture, Floats]]

    @property
    def lost(self) -> int:
        """Frames without a face."""
        return sum(p.confidence == 0 for p in self.parameters)

    def neutral(self, model: FaceModel) -> Floats:
        """(28,): see ``own_neutral``."""
        seen = [p.expression for p in self.parameters if p.confidence > 0]
        return own_neutral(model, self.identity, np.array(seen, np.float32).reshape(-1, EXPRESSION))


def is_picture(path: Path) -> bool:
    """Whether a file is a still picture. Raises UsageError when there is no such file."""
    from PIL import Image, UnidentifiedImageError

    if not path.exists():
        raise UsageError(f"no such file: {path}")
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return False


def read_photo(path: Path, model: FaceModel) -> Person:
    """A person from one photo. Raises UsageError if it is no picture or shows no face."""
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    tracked = picture_reference(path)
    assert tracked.landmarks is not None
    fitter = Fitter(model)
    for _ in range(SAME_PHOTO):
        result = fitter.fit(tracked.landmarks)
    if result.lost or result.parameters.confidence == 0:
        raise UsageError(
            f"the face in the photo {path} cannot be fitted: give one that shows more of it, from the front"
        )
    reference = ReferenceFrame(0, tracked.picture, result.parameters, fitter.identity)
    return Person((reference,), fitter.identity, np.zeros(EXPRESSION, np.float32))


def read_person(path: Path, model: FaceModel) -> Person:
    """A person from a photo or a video. Raises UsageError for what is neither or shows no face."""
    return read_photo(path, model) if is_picture(path) else person_of(read_performance(path, model), model)


def read_performance(path: Path, model: FaceModel) -> Performance:
    """Track and fit every frame of a video. Raises UsageError for what is no video or shows no face."""
    landmarks: list[Floats | None] = []
    squares: list[Square] = []
    candidates: dict[int, tuple[Picture, Floats]] = {}
    stride, faces = 1, 0
    with open_source(path, None, realtime=False) as source, FaceTracker("auto") as tracker:
        for frame in shown(source, f"looking at {path.name}"):
            tracked = tracker.track(frame.picture)
            landmarks.append(tracked.landmarks)
            squares.append(tracked.square)
            if tracked.landmarks is None:
                continue
            if faces % stride == 0:
                candidates[faces] = (tracked.picture, tracked.landmarks)
            if len(candidates) > CANDIDATES:
                stride *= 2
                candidates = {k: v for k, v in candidates.items() if k % stride == 0}
            faces += 1
        fps = source.fps
    seen = [x for x in landmarks if x is not None]
    if not seen:
        raise UsageError(f"no face was found in {path}: give a video of a face from the front")
    refiner = IdentityRefiner(model)
    for i in np.unique(np.linspace(0, len(seen) - 1, SOLVE_AT[-1]).round().astype(int)):
        refiner.add(seen[i])
    identity = refiner.identity
    return Performance(fps, _fits(landmarks, Fitter(model, identity=identity)), squares, identity, candidates)


def pictures(path: Path, squares: Sequence[Square]) -> Iterator[Picture]:
    """The 256x256 pictures of a video again, frame after frame, without looking for the face again."""
    with open_source(path, None, realtime=False) as source:
        for frame, square in zip(source, squares, strict=False):
            yield cut(frame.picture, square)


def _fits(landmarks: Sequence[Floats | None], fitter: Fitter) -> list[FrameParameters]:
    smoother = Smoother()
    fits: list[FrameParameters] = []
    missing = 0
    for points in landmarks:
        result = None if points is None else fitter.fit(points)
        if result is not None and not result.lost:
            last = smoother.smooth(result.parameters)
            # before the first face: hold it, too
            fits += [replace(last, confidence=0.0)] * missing + [last]
            missing = 0
        elif fits:
            held = replace(fits[-1], confidence=0.0)
            smoother.smooth(held)
            fits.append(held)
        else:
            missing += 1
    return fits


def person_of(performance: Performance, model: FaceModel) -> Person:
    """The person of a video, with several photos: the best one as the base, and those whose mouth or eyes differ most from what
    the memory has by then, as long as the head is turned as in the base."""
    fitter = Fitter(model, identity=performance.identity)
    found = []
    for picture, landmarks in performance.candidates.values():
        fitter.restart()
        result = fitter.fit(landmarks)
        found.append((picture, landmarks, replace(result.parameters, window=Window())))
    seen, points, fits = (list(column) for column in zip(*found, strict=True))
    base = best_reference(seen, points, fits)
    chosen = [base]
    shapes = [local_shapes(model, performance.identity, f) for f in fits]
    turned = [np.abs(f.camera.rotation - fits[base].camera.rotation).max() for f in fits]
    open_to_choice = [i for i, f in enumerate(fits) if f.confidence >= SURE and turned[i] < NEAR_POSE and i != base]
    while open_to_choice and len(chosen) < PHOTOS:
        new = [
            max(min(distance(shapes[i][r], shapes[c][r]) for c in chosen) for r in (Region.MOUTH, Region.EYES))
            for i in open_to_choice
        ]
        chosen.append(open_to_choice.pop(int(np.argmax(new))))
    photos = tuple(ReferenceFrame(k, seen[i], fits[i], performance.identity) for k, i in enumerate(chosen))
    return Person(photos, performance.identity, performance.neutral(model))


def local_shapes(model: FaceModel, identity: Floats, parameters: FrameParameters) -> dict[Region, Floats]:
    """The mouth's and the eyes' points of a frame in the model's own coordinates."""
    shape = model.shape(identity, parameters.expression)
    eyes = np.concatenate((GROUPS["eyelids"], GROUPS["irises"]))
    return {Region.MOUTH: shape[GROUPS["lips"], :2], Region.EYES: shape[eyes, :2]}


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean distance of points, model units."""
    return float(np.linalg.norm(one - other, axis=1).mean())


Item = TypeVar("Item")


def shown(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a progress bar where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, what, total, console=Console(stderr=True), transient=True)
