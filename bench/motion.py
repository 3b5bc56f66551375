"""``headwire bench motion``: what the residual motion field is worth and what it costs, on people nobody learned from.

Every clip is a call with one photo (its first face, 7 kB of AVIF); what is shown comes from bytes that were decoded. Every EVERY-th frame
is compared. Means over the people, each of whom counts the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import metrics, rate_curve
from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.motion import MotionDecoder
from codec.motion_track import MotionTrack
from codec.parameters import Floats, Picture
from codec.quantiser import Tables
from sender.motion import MotionEncoder, MotionSettings
from training.dataset import clips
from training.entropy import Sequence35
from training.motion import FRAME_RATE, WarpedClip, quantised, warped

EVERY = 5
PRICES = (16000.0, 6400.0, 3200.0, 1600.0, 800.0, 400.0)
RUNG = "low"
"""Of the parameters, unless said otherwise."""


@dataclass(frozen=True)
class Call:
    """How a clip is coded and what happens on the way.

    late: frames until a field is acknowledged; 0: a file. loss: share of field packets that are lost. ahead: the viewer has the next field when a frame between two is shown. motion: off: no field at all.
    """

    settings: MotionSettings = field(default_factory=lambda: MotionSettings(reliable=True))
    late: int = 0
    loss: float = 0.0
    ahead: bool = True
    motion: bool = True
    stop: int | None = None


@dataclass(frozen=True, eq=False)
class Shown:
    """A coded clip. truth, shown: (N, 256, 256, 3), every EVERY-th frame. kbps: of the field. flicker: mean difference of successive
    frames over the original's. encode_ms, extra_ms: medians of the sender's loop per field and of the viewer's extra per frame."""

    truth: Picture
    shown: Picture
    kbps: float
    flicker: float
    encode_ms: float
    extra_ms: float


@dataclass(frozen=True, eq=False)
class Filmed:
    """Frames of a clip, ready to code again and again. flows: (T, 256, 256, 2) float16, displacement, px."""

    name: str
    identity: str
    pictures: Picture
    flows: NDArray[np.float16]
    photo: Picture
    photo_bytes: int
    parameters_kbps: float


_GRID = np.dstack(np.meshgrid(np.arange(256, dtype=np.float32) + 0.5, np.arange(256, dtype=np.float32) + 0.5))


def filmed(clip: WarpedClip, stop: int | None = None) -> Filmed:
    """Warp a whole clip once."""
    rows = [(f.picture, (f.flow - _GRID).astype(np.float16)) for f in clip.frames(stop)]
    pictures, flows = np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])
    return Filmed(
        clip.clip.name,
        clip.clip.identity,
        pictures,
        flows,
        clip.photo,
        clip.photo_bytes,
        8 * clip.parameter_bytes / (len(pictures) / FRAME_RATE) / 1000,
    )


def coded(clip: Filmed, call: Call, seed: int = 1) -> Shown:
    """Code a clip, lose what is lost, decode it, show it."""
    import cv2

    encoder, decoder, track = MotionEncoder(call.settings), MotionDecoder(), MotionTrack()
    encoder.set_photo(0, clip.photo)
    chance = random.Random(seed)
    enlarged = cv2.resize(clip.photo, (512, 512), interpolation=cv2.INTER_LANCZOS4)
    size = 0
    encode_ms: list[float] = []
    extra_ms: list[float] = []
    acknowledged: list[int] = []
    arrived: dict[int, bytes] = {}
    shown: dict[int, Picture] = {}
    every = call.settings.every
    count = len(clip.pictures)

    def take(number: int) -> bool:
        if number not in arrived:
            return False
        start = time.perf_counter()
        try:
            track.add(decoder.decode(arrived[number], number))
        except BitstreamError:
            return False
        decode_ms.append(1000 * (time.perf_counter() - start))
        return True

    decode_ms: list[float] = []
    for number in range(count):
        if number % every == 0 and call.motion and number > 0:
            while acknowledged and acknowledged[0] + call.late <= number:
                encoder.acknowledge(acknowledged.pop(0))
            flow = clip.flows[number].astype(np.float32) + _GRID
            start = time.perf_counter()
            data = encoder.encode(clip.pictures[number], flow, number)
            encode_ms.append(1000 * (time.perf_counter() - start))
            if data is not None:
                size += len(data)
                if chance.random() >= call.loss:
                    arrived[number] = data
                    if take(number):
                        acknowledged.append(number)
    # What the viewer shows: a frame between two fields has the later one at hand if its buffer is ahead by that much.
    decoder.reset()
    track.clear()
    taken = -1
    for number in range(count):
        horizon = number + (every - 1 if call.ahead else 0)
        while taken < min(horizon, count - 1):
            taken += 1
            take(taken)
        if number % EVERY > 1:
            continue
        flow = clip.flows[number].astype(np.float32) + _GRID
        start = time.perf_counter()
        got = track.at(number, 0)
        if got is not None:
            got.apply(flow)
        extra_ms.append(1000 * (time.perf_counter() - start))
        flow *= np.float32(2)
        flow -= np.float32(0.5)
        shown[number] = cv2.remap(enlarged, flow, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    numbers = [n for n in shown if n % EVERY == 0]
    pairs = [n for n in numbers if n + 1 in shown]

    def change(of: Any) -> float:
        return float(np.mean([np.abs(of[n + 1].astype(np.int16) - of[n].astype(np.int16)).mean() for n in pairs]))

    return Shown(
        clip.pictures[numbers],
        np.stack([shown[n] for n in numbers]),
        8 * size / (count / FRAME_RATE) / 1000,
        change(shown) / change(clip.pictures),
        median(encode_ms) if encode_ms else 0.0,
        median(extra_ms) + (sum(decode_ms) / max(1, count) if decode_ms else 0.0),
    )


@dataclass(frozen=True)
class Row:
    """Figures of one way of coding, means over the people. kbps: of the field alone."""

    lpips: float
    psnr: float
    l1: float
    kbps: float
    flicker: float
    encode_ms: float
    extra_ms: float


def measured(films: Sequence[Filmed], call: Call, distance: Callable[[Picture, Picture], Any] | None) -> Row:
    """Code all clips one way. distance: LPIPS; ``None``: leave it out (0)."""
    people: dict[str, list[list[float]]] = {}
    for film in films:
        got = coded(film, call)
        rest = slice(1, None)
        lpips = float(distance(got.truth[rest], got.shown[rest]).mean()) if distance else 0.0
        psnr, l1 = metrics.psnr(got.truth[rest], got.shown[rest]), metrics.l1(got.truth[rest], got.shown[rest])
        row = [lpips, float(psnr.mean()), float(l1.mean()), got.kbps, got.flicker, got.encode_ms, got.extra_ms]
        people.setdefault(film.identity, []).append(row)
    return Row(*np.mean([np.mean(rows, 0) for rows in people.values()], 0))


def films(
    split: Any = "validation", rung: str | None = RUNG, shake: float = 0.0, stop: int | None = None
) -> list[Filmed]:
    """All clips of a split, warped. rung: of the parameters; ``None``: plain steps."""
    model = FaceModel.load()
    coder = quantised if rung is None else partial(through, rung)
    return [filmed(warped(clip, model, coder, shake), stop) for clip in clips(split=split)]


def through(rung: str, model: FaceModel, neutral: Floats, vectors: Floats) -> tuple[Floats, int]:
    """The parameters through their own codec."""
    packets, shown = rate_curve.coded(Sequence35("", "", neutral, vectors), rung, Tables.load(), model)
    return shown, sum(map(len, packets))
