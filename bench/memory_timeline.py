"""A minute of call as a picture: what the memory is given, what is painted from which of it, and what that does to the picture.

``python -m bench.memory_timeline`` encodes the demo clip as ``headwire encode`` does, once with the memory and once from one
photo, both with motion; decodes both, and draws ``docs/images/memory-timeline.png``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import metrics
from bench.codec_headwire import Headwire
from bench.codecs import Encoded, Frames
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.motion import NONE, SEQUENCES, MotionDecoder
from codec.parameters import Picture, Region
from models.memory import PhotoMemory
from receiver.memory_view import colour
from sender.capture import open_source
from sender.demo_clip import CLIPS, demo_clip
from sender.tracking import FaceTracker

TARGET = Path("docs/images/memory-timeline.png")
SECONDS = 60.0
RATES = {"with the memory": "normal@3:auto", "one photo": "normal@0:auto"}
EVERY = 5
"""Every so many frames are compared."""
THUMB = 64


@dataclass(frozen=True, eq=False)
class Remembered:
    """A picture that came into the memory. time_s: when. size: bytes of its messages. picture: small, (64, 64, 3) uint8."""

    time_s: float
    photo_id: int
    region: Region
    size: int
    picture: Picture


@dataclass(frozen=True)
class Use:
    """From ``time_s`` on, the whole picture, mouth and eyes are painted from these ids; ``NONE``: as the whole."""

    time_s: float
    photo: int
    mouth: int = NONE
    eyes: int = NONE


@dataclass(frozen=True, eq=False)
class Run:
    """A way of encoding the clip. kbps: (N,) mean since the start, by frame, all messages. seconds: (S,) where measured.
    lpips, psnr: (S,) means of the second around."""

    kbps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lpips: NDArray[np.float64]
    psnr: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Timeline:
    """clip: its name. fps, frames: of it. runs: by the names of ``RATES``. remembered, uses: of the first of them."""

    clip: str
    fps: float
    frames: int
    runs: dict[str, Run]
    remembered: list[Remembered] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def memory_of(encoded: Encoded, model: FaceModel) -> tuple[list[Remembered], list[Use]]:
    """What a viewer of an encoded clip remembers, and what each change of its motion fields makes it paint from."""
    memory, decoder = PhotoMemory(model), MotionDecoder()
    fps = float(encoded.fps)
    remembered: list[Remembered] = []
    uses: list[Use] = []
    size = 0
    for packet in encoded.packets:
        time_s = packet.frame / fps
        if packet.kind in ("photo", "photos"):
            size += len(packet.data)
            reference = memory.add(packet.data)
            if reference is not None:
                own = (reference.photo_id, reference.region)
                remembered.append(Remembered(time_s, *own, size, thumbnail(reference.picture)))
                size = 0
            if not uses and reference is not None:
                uses.append(Use(0.0, reference.photo_id))
        elif packet.kind == "motion":
            nearest = packet.frame + 1 + (packet.data[0] - packet.frame - 1 + 128) % 256 - 128
            motion = decoder.decode(packet.data[1:], nearest % SEQUENCES)
            use = Use(nearest / fps, motion.photo_id, motion.mouth, motion.eyes)
            if (use.photo, use.mouth, use.eyes) != (uses[-1].photo, uses[-1].mouth, uses[-1].eyes):
                uses.append(use)
    return remembered, uses


def thumbnail(picture: Picture) -> Picture:
    """The same, small."""
    import cv2

    return np.asarray(cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA), np.uint8)


def kbps_so_far(encoded: Encoded) -> NDArray[np.float64]:
    """(N,): payload of everything since the start, over the time since, at the end of each frame."""
    sizes = np.zeros(encoded.frames)
    for packet in encoded.packets:
        sizes[min(packet.frame, encoded.frames - 1)] += len(packet.data)
    times = np.arange(1, encoded.frames + 1) / float(encoded.fps)
    return np.asarray(np.cumsum(sizes) * 8 / 1000 / times, np.float64)


def by_second(values: NDArray[np.float64], frames: Sequence[int], fps: float) -> NDArray[np.float64]:
    """Means over whole seconds of values that belong to some frames: (S,)."""
    second = (np.asarray(frames) / fps).astype(int)
    return np.asarray([values[second == s].mean() for s in np.unique(second)])


def measure(clip: str = "franck", seconds: float = SECONDS, lpips: metrics.Lpips | None = None) -> Timeline:
    """Encode, decode and compare. Some minutes."""
    frames, fps = cropped(demo_clip(clip), CLIPS[clip].start_s, seconds)
    lpips = lpips or metrics.Lpips()
    chosen = range(0, len(frames), EVERY)
    codec, runs, encoded = Headwire("warp"), {}, []
    for name, rate in RATES.items():
        encoded.append(codec.encode(frames, fps, rate))
        shown = codec.decode(encoded[-1])[:: EVERY]
        truth = frames[::EVERY]
        figures = (lpips(truth, shown), metrics.psnr(truth, shown))
        runs[name] = Run(
            kbps_so_far(encoded[-1]),
            np.unique((np.asarray(chosen) / float(fps)).astype(int)) + 0.5,
            *(by_second(of, chosen, float(fps)) for of in figures),
        )
    return Timeline(clip, float(fps), len(frames), runs, *memory_of(encoded[0], FaceModel.load()))


def cropped(path: Path, start_s: float, seconds: float) -> tuple[Frames, Fraction]:
    """(N, 256, 256, 3): a video's frames as a call crops them, and its rate."""
    with open_source(path, None, realtime=False) as source, FaceTracker() as tracker:
        rate = Fraction(source.fps).limit_denominator(100_000)
        pictures = []
        for frame in source:
            if frame.index >= (start_s + seconds) * source.fps:
                break
            if frame.index >= start_s * source.fps:
                pictures.append(tracker.track(frame.picture).picture)
    if not pictures:
        raise HeadwireError(f"{path} has no frame after {start_s:g} s: choose an earlier start")
    return np.stack(pictures), rate
