"""Learns the tables of the motion field's packets from the training people, by running the encoder itself.

``run`` fits and warps training clips as a session would, encodes their residual motion, counts what came in which context, and
again with the tables of these counts, ROUNDS times. Half of the people are coded as a file is, the others with acknowledgements that
are late.
The same clips give the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec import raster
from codec.entropy import FREQUENCY_BITS
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.motion import MotionTables
from codec.motion_grid import LEVELS
from codec.motion_syntax import (
    CONTEXTS,
    EMPTIES,
    OFFSETS_ARRAY,
    SIGNS,
    SIZES_ARRAY,
    context_of,
    empty_context_of,
    sign_context_of,
)
from codec.parameters import Floats, FrameParameters, Picture, ReferenceFrame
from codec.photo import decode_photo, encode_photo
from codec.quantiser import dequantise, quantise
from codec.smoothing import Smoother
from models.generator import DrivingFrame
from models.warp import Warp
from sender.motion import MotionEncoder, MotionSettings
from training.dataset import Clip, Split, by_identity, clips, frames, landmarks

TABLES = Path(__file__).resolve().parent.parent / "codec" / "data" / "motion_tables.npz"
PEOPLE = 48
SECONDS = 5
ROUNDS = 3
PRICES = (500.0, 1000.0, 2000.0, 4000.0)
"""Of a bit; person after person takes the next."""

EVERY = (2, 2, 4)
"""Frames from field to field."""

LATE = (0, 4, 0, 8)
"""Frames until a field is acknowledged; 0: at once."""

MORE = 6
FIRST_PHOTO = 7000
FRAME_RATE = 25


Coder = Callable[[FaceModel, Floats, Floats], tuple[Floats, int]]
"""What the parameters go through: model, neutral shape (478, 3), (T, 35) steadied fits -> (T' <= T, 35) as decoded, bytes."""


def quantised(model: FaceModel, neutral: Floats, vectors: Floats) -> tuple[Floats, int]:
    """The plain coder: whole steps, 70 bytes a frame."""
    return np.stack([dequantise(quantise(v)) for v in vectors]), 70 * len(vectors)


@dataclass(frozen=True, eq=False)
class WarpedFrame:
    """One frame of a clip. number: counted from the photo's, 0. picture: the camera's. flow: the viewer's, (256, 256, 2), px."""

    number: int
    picture: Picture
    flow: Floats


@dataclass(frozen=True, eq=False)
class WarpedClip:
    """A clip as the sender's loop meets it.

    photo: the first frame with a face, as decoded; photo_bytes: coded. fits: as decoded, from the photo's frame on;
    parameter_bytes: of them. first: frame of the photo. path: (T, 2) px, by which a shaken camera moves the picture.
    """

    clip: Clip
    photo: Picture
    photo_bytes: int
    warp: Warp
    fits: list[FrameParameters]
    parameter_bytes: int
    first: int
    identity: Floats
    model: FaceModel
    path: Floats | None = None

    def driving(self, number: int) -> DrivingFrame:
        """What the viewer paints of a frame, without a field."""
        parameters = self.fits[number]
        vertices = self.model.project(self.model.shape(self.identity, parameters.expression), parameters.camera)
        return DrivingFrame(parameters, vertices, raster.rasterise(vertices, self.model.triangles))

    def frames(self, stop: int | None = None) -> Iterator[WarpedFrame]:
        """Every frame from the photo's on."""
        for number, picture in enumerate(_pictures(self.clip.path, self.path), start=-self.first):
            if number >= min(len(self.fits), stop or len(self.fits)):
                return
            if number >= 0:
                yield WarpedFrame(number, picture, self.warp.flow(self.driving(number)))


def warped(
    clip: Clip, model: FaceModel, coder: Coder = quantised, shake: float = 0.0, photo_bytes: int = FIRST_PHOTO
) -> WarpedClip:
    """Fit, steady and code a clip as a session does (identity from all of it, then held); its first face becomes the photo.

    shake: px by which a shaken camera moves the picture.
    """
    points = landmarks(clip)
    path = shaken_path(len(points), shake) if shake else None
    if path is not None:
        points = points.copy()
        points[..., :2] += path[:, None]
    fitter = Fitter(model)
    identity = fitter.identity
    for one in points:
        identity = fitter.fit(one).identity
    fitter, smoother = Fitter(model, identity=identity), Smoother()
    results = [fitter.fit(one) for one in points]
    first = next((n for n, result in enumerate(results) if not result.lost), 0)
    steady = np.stack([smoother.smooth(result.parameters).vector() for result in results[first:]])
    vectors, size = coder(model, model.neutral(identity), steady)
    fits = [FrameParameters.from_vector(v) for v in vectors]
    picture = next(p for n, p in enumerate(_pictures(clip.path, path)) if n == first)
    coded = encode_photo(picture, photo_bytes)
    photo = decode_photo(coded)
    warp = Warp(model)
    warp.prepare(ReferenceFrame(0, photo, fits[0], identity))
    return WarpedClip(clip, photo, len(coded), warp, fits, size, first, identity, model, path)


def shaken_path(count: int, amplitude: float, seed: int = 1) -> Floats:
    """(count, 2) float32: smooth noise (about 3 Hz at 25 frames a second) between +-amplitude, from 0."""
    noise = np.random.default_rng(seed).normal(size=(2, count + 16))
    window = np.hanning(9)
    path = np.stack([np.convolve(row, window, "same")[8:-8] for row in noise], 1)
    path -= path[0]
    return np.asarray(path / np.abs(path).max() * amplitude, np.float32)


def _pictures(path: Path, shaken: Floats | None) -> Iterator[Picture]:
    import cv2

    for number, picture in enumerate(frames(path)):
        if shaken is None:
            yield picture
        elif number < len(shaken):
            move = np.array(((1, 0, shaken[number, 0]), (0, 1, shaken[number, 1])), np.float32)
            yield np.asarray(cv2.warpAffine(picture, move, (256, 256), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@dataclass(eq=False)
class Counts:
    """How often each flag was (0, 1), by context: see ``motion_syntax``."""

    zero: NDArray[np.float64]
    sign: NDArray[np.float64]
    more: NDArray[np.float64]
    empty: NDArray[np.float64]

    @staticmethod
    def none() -> Counts:
        """A few flags, as seen before anything was learned."""
        zero = np.tile((0.95, 0.05), (CONTEXTS, 1))
        more = np.tile((0.6, 0.4), (len(LEVELS), MORE, 1))
        return Counts(zero, np.ones((SIGNS, 2)), more, np.ones((EMPTIES, 2)))

    def tables(self) -> MotionTables:
        """Frequencies of the counts."""

        def frequency(pair: NDArray[np.float64]) -> NDArray[np.int64]:
            share = pair[..., 1] / pair.sum(-1)
            whole = 1 << FREQUENCY_BITS
            return np.clip(np.rint(share * whole), 16, whole - 16).astype(np.int64)

        return MotionTables(*(frequency(x) for x in (self.zero, self.sign, self.more, self.empty)))


@njit(cache=True)
def _count(numbers, activity, zero, sign, more, empty):  # type: ignore[no-untyped-def]
    for level in range(len(SIZES_ARRAY)):
        n, offset = SIZES_ARRAY[level], OFFSETS_ARRAY[level]
        any_change = False
        for i in range(offset, offset + n * n):
            if numbers[i, 0] != 0 or numbers[i, 1] != 0:
                any_change = True
        empty[empty_context_of(activity, level, n, offset), 0 if any_change else 1] += 1
        if not any_change:
            continue
        for row in range(n):
            for column in range(n):
                for axis in range(2):
                    value = numbers[offset + row * n + column, axis]
                    zero[context_of(numbers, activity, level, n, offset, row, column, axis), 1 if value else 0] += 1
                    if value == 0:
                        continue
                    signs = sign_context_of(numbers, level, n, offset, row, column, axis)
                    sign[signs, 1 if value > 0 else 0] += 1
                    for m in range(1, abs(value) + 1):
                        more[level, min(m, more.shape[1]) - 1, 1 if abs(value) > m else 0] += 1


def halves(clip: WarpedClip, stop: int, every: int = 2) -> list[tuple[int, Any, Floats]]:
    """(number, grey picture, flow) of every second frame, at half the size: what ``MotionEncoder.encode_half`` takes."""
    import cv2

    out = []
    for frame in clip.frames(stop):
        if frame.number % every == 0:
            small = cv2.resize(frame.picture, (128, 128), interpolation=cv2.INTER_AREA)
            flow: Any = cv2.resize(frame.flow, (128, 128), interpolation=cv2.INTER_AREA)
            out.append((frame.number, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), flow))
    return out


def count(
    photo: Picture,
    frames_at_half: list[tuple[int, Any, Floats]],
    settings: MotionSettings,
    late: int,
    tables: MotionTables,
    counts: Counts,
) -> int:
    """Encode one person and add to the counts; returns the bytes."""
    encoder = MotionEncoder(settings, tables)
    encoder.set_photo(0, photo)
    waiting: list[int] = []
    size = 0
    for number, seen, flow in frames_at_half:
        while waiting and waiting[0] + late <= number:
            encoder.acknowledge(waiting.pop(0))
        data = encoder.encode_half(seen, flow, number)
        if data is not None and encoder.started is not None:
            size += len(data)
            waiting.append(number)
            _count(encoder.numbers, encoder.started.activity, counts.zero, counts.sign, counts.more, counts.empty)
    return size


def people(split: Split = "train", most: int = PEOPLE) -> list[Clip]:
    """One clip of each of ``most`` people, evenly from the list."""
    chosen = [group[0] for group in by_identity(clips(split=split)).values() if group[0].seconds >= SECONDS]
    return [chosen[i * len(chosen) // most] for i in range(min(most, len(chosen)))]


def run(target: Path = TABLES, progress: Callable[[str], None] | None = None) -> MotionTables:
    """Learn the tables and write them."""
    model = FaceModel.load()
    data: list[tuple[Picture, list[tuple[int, Any, Floats]]]] = []
    for clip in people():
        one = warped(clip, model)
        data.append((one.photo, halves(one, SECONDS * FRAME_RATE, EVERY[len(data) % len(EVERY)])))
        if progress:
            progress(clip.name)
    tables = Counts.none().tables()
    for _ in range(ROUNDS):
        counts = Counts.none()
        size = 0
        for n, (photo, half) in enumerate(data):
            late = LATE[n // len(PRICES) % len(LATE)]
            settings = MotionSettings(price=PRICES[n % len(PRICES)], every=EVERY[n % len(EVERY)], reliable=late == 0)
            size += count(photo, half, settings, late, tables, counts)
        tables = counts.tables()
        if progress:
            progress(f"{8 * size / len(data) / SECONDS / 1000:.3f} kbps")
    np.savez_compressed(target, **{k: getattr(tables, k).astype(np.uint16) for k in ("zero", "sign", "more", "empty")})
    return tables


if __name__ == "__main__":
    run(progress=print)
