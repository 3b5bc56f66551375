"""``headwire bench motion``: what the residual motion field is worth and what it costs, on people nobody learned from.

Every clip is a call with one photo (its first face, 7 kB of AVIF); what is shown comes from bytes that were decoded. Every
EVERY-th frame is compared. Means over the people, each of whom counts the same.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import metrics, rate_curve
from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.motion import MotionDecoder
from codec.motion_ack import MotionReceipts
from codec.motion_ack import acknowledged as named
from codec.motion_track import MotionTrack
from codec.parameters import Floats, Picture
from codec.quantiser import Tables
from sender.motion import MotionEncoder, MotionSettings
from training.dataset import Clip, clips
from training.entropy import Sequence35
from training.motion import FRAME_RATE, WarpedClip, quantised, warped

EVERY = 5
STEPS = ((4, 16000.0), (4, 6400.0), (4, 3200.0), (4, 1600.0), (2, 3200.0), (2, 1600.0), (2, 800.0), (2, 400.0))
"""Frames from field to field and price of a bit: the curve's points."""

SHAKE = 10.0
"""px by which a shaken camera moves the picture either way."""
RUNG = "low"
"""Of the parameters, unless said otherwise."""


@dataclass(frozen=True)
class Call:
    """How a clip is coded and what happens on the way.

    late: frames until a field is acknowledged; 0: a file. loss: share of field packets that are lost. ahead: the viewer has
    the next field when a frame between two is shown. motion: off: no field at all. reports: frames between two receipts
    (which may get lost); 0: each field is acknowledged by itself. behind: frames that a field comes after its own. ease: as
    ``MotionTrack``.
    """

    settings: MotionSettings = field(default_factory=lambda: MotionSettings(reliable=True))
    late: int = 0
    loss: float = 0.0
    ahead: bool = True
    motion: bool = True
    reports: int = 0
    behind: int = 0
    ease: float = 1.0


@dataclass(frozen=True, eq=False)
class Shown:
    """A coded clip.

    truth, shown: (N, 256, 256, 3), every EVERY-th frame. kbps: of the field. flicker: mean difference of successive frames, of what
    is shown and of the original. encode_ms, extra_ms: medians of the sender's loop per field and of the viewer's extra per frame.
    """

    truth: Picture
    shown: Picture
    kbps: float
    flicker: tuple[float, float]
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

    def flow(self, number: int) -> Floats:
        """The viewer's flow of one frame, (256, 256, 2), px."""
        return np.asarray(self.flows[number].astype(np.float32) + _GRID)


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


@dataclass(eq=False)
class _Wire:
    """One call's field packets: what was sent, what came, and how long both ends took."""

    size: int = 0
    arrived: dict[int, bytes] = field(default_factory=dict)
    encode_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)


def coded(clip: Filmed, call: Call, seed: int = 1) -> Shown:
    """Code a clip, lose what is lost, decode it, show it."""
    wire = _sent(clip, call, seed) if call.motion else _Wire()
    shown, extra_ms = _viewed(clip, call, wire)
    numbers = [n for n in shown if n % EVERY == 0]
    pairs = [n for n in numbers if n + 1 in shown]

    def change(of: Any) -> float:
        return float(np.mean([np.abs(of[n + 1].astype(np.int16) - of[n].astype(np.int16)).mean() for n in pairs]))

    return Shown(
        clip.pictures[numbers],
        np.stack([shown[n] for n in numbers]),
        8 * wire.size / (len(clip.pictures) / FRAME_RATE) / 1000,
        (change(shown), change(clip.pictures)),
        median(wire.encode_ms or [0.0]),
        median(extra_ms) + sum(wire.decode_ms) / len(clip.pictures),
    )


def _sent(clip: Filmed, call: Call, seed: int) -> _Wire:
    """The sender, and a receiver that acknowledges what it can decode."""
    encoder, decoder = MotionEncoder(call.settings), MotionDecoder()
    encoder.set_photo(0, clip.photo)
    chance, wire = random.Random(seed), _Wire()
    acknowledged: list[int] = []
    receipts, receipt = MotionReceipts(), b""
    on_way: list[tuple[int, bytes]] = []
    for number in range(call.settings.every, len(clip.pictures), call.settings.every):
        while not call.reports and acknowledged and acknowledged[0] + call.late <= number:
            encoder.acknowledge(acknowledged.pop(0))
        if call.reports and receipt and number % call.reports < call.settings.every and chance.random() >= call.loss:
            on_way.append((number + call.late, receipt))
        while on_way and on_way[0][0] <= number:
            for sequence in named(on_way.pop(0)[1]):
                encoder.acknowledge(sequence)
        flow = clip.flow(number)
        start = time.perf_counter()
        data = encoder.encode(clip.pictures[number], flow, number)
        wire.encode_ms.append(1000 * (time.perf_counter() - start))
        if data is None:
            continue
        wire.size += len(data)
        if chance.random() < call.loss:
            continue
        start = time.perf_counter()
        try:
            decoder.decode(data, number)
        except BitstreamError:
            continue
        wire.decode_ms.append(1000 * (time.perf_counter() - start))
        wire.arrived[number] = data
        receipt = receipts.add(number)
        acknowledged.append(number)
    return wire


def _viewed(clip: Filmed, call: Call, wire: _Wire) -> tuple[dict[int, Picture], list[float]]:
    """The viewer: number of the frame -> picture, for every EVERY-th and the one after it; ms of the field in each."""
    import cv2

    enlarged = cv2.resize(clip.photo, (512, 512), interpolation=cv2.INTER_LANCZOS4)
    decoder, track = MotionDecoder(), MotionTrack(call.ease)
    shown: dict[int, Picture] = {}
    extra_ms: list[float] = []
    ahead = call.settings.every - 1 if call.ahead else -call.behind
    taken = 0
    for number in range(len(clip.pictures)):
        while taken < min(number + ahead + 1, len(clip.pictures)):
            if taken in wire.arrived:
                track.add(decoder.decode(wire.arrived[taken], taken))
            taken += 1
        start = time.perf_counter()
        got = track.at(number, {0})
        if number % EVERY > 1:
            continue
        flow = clip.flow(number)
        if got is not None:
            got.apply(flow)
        extra_ms.append(1000 * (time.perf_counter() - start))
        source = flow * np.float32(2) - np.float32(0.5)
        moved: Any = cv2.remap(enlarged, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown[number] = moved
    return shown, extra_ms


@dataclass(frozen=True)
class Row:
    """Figures of one way of coding, means over the people; flicker: over all frames. kbps: of the field alone;
    payload_kbps: with the parameters."""

    lpips: float
    psnr: float
    l1: float
    kbps: float
    payload_kbps: float
    flicker: float
    encode_ms: float
    extra_ms: float


Distance = Callable[[Picture, Picture], Any]


def measured(films: Sequence[Filmed], call: Call, distance: Distance | None = None) -> Row:
    """Code all clips one way. distance: LPIPS; ``None``: leave it out (0)."""
    people: dict[str, list[list[float]]] = {}
    changes = np.zeros(2)
    for film in films:
        got = coded(film, call)
        rest = slice(1, None)
        truth, shown = got.truth[rest], got.shown[rest]
        lpips = float(distance(truth, shown).mean()) if distance else 0.0
        picture = [lpips, float(metrics.psnr(truth, shown).mean()), float(metrics.l1(truth, shown).mean())]
        row = [*picture, got.kbps, got.kbps + film.parameters_kbps, got.encode_ms, got.extra_ms]
        people.setdefault(film.identity, []).append(row)
        changes += np.array(got.flicker) * len(truth)
    means = np.mean([np.mean(rows, 0) for rows in people.values()], 0)
    lpips, psnr, l1, kbps, payload, encode_ms, extra_ms = (float(x) for x in means)
    return Row(lpips, psnr, l1, kbps, payload, float(changes[0] / changes[1]), encode_ms, extra_ms)


def still(film: Filmed, seconds: float = 10, at: int = 40) -> float:
    """kbps of the field where nothing moves, after the first two seconds: one frame held, with a camera's noise."""
    at = min(at, len(film.pictures) - 1)
    noise = np.random.default_rng(1)
    count = round(seconds * FRAME_RATE)
    pictures = np.stack(
        [np.clip(film.pictures[at] + noise.normal(0, 2, (256, 256, 3)), 0, 255).astype(np.uint8) for _ in range(count)]
    )
    held = replace(film, pictures=pictures, flows=np.repeat(film.flows[at : at + 1], count, 0))
    wire = _sent(held, Call(), 1)
    size = sum(len(data) for number, data in wire.arrived.items() if number >= 2 * FRAME_RATE)
    return 8 * size / (seconds - 2) / 1000


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


def run() -> dict[str, Any]:
    """All figures: the curve over the price of a bit, acknowledgements that are late, loss, a shaken camera, a still one."""
    distance = metrics.Lpips("alex")
    filmed_clips = films()
    result: dict[str, Any] = {
        "people": len({f.identity for f in filmed_clips}),
        "photo_bytes": float(np.mean([f.photo_bytes for f in filmed_clips])),
        "parameters": RUNG,
        "off": asdict(measured(filmed_clips, Call(motion=False), distance)),
        "curve": [],
    }
    for every, price in STEPS:
        call = Call(MotionSettings(price=price, every=every, reliable=True))
        result["curve"].append({"price": price, "every": every} | asdict(measured(filmed_clips, call, distance)))
    plain = MotionSettings()
    for name, call in {
        "file": Call(replace(plain, reliable=True)),
        "late_8": Call(plain, late=8),
        "late_8_loss_10": Call(plain, late=8, loss=0.1),
        "no_buffer": Call(replace(plain, reliable=True), ahead=False),
    }.items():
        result[name] = asdict(measured(filmed_clips, call))
    result["still_kbps"] = float(np.mean([still(f) for f in filmed_clips]))
    del filmed_clips
    shaken = films(shake=SHAKE)
    result["shaken"] = asdict(measured(shaken, Call()))
    result["shaken_off"] = asdict(measured(shaken, Call(motion=False)))
    return result


def calls() -> dict[str, Any]:
    """What a call makes of the field: late receipts and loss, by how many packets hang on one another; fields that come late."""
    model, people = FaceModel.load(), dict[str, Clip]()
    for clip in clips(split="train"):
        people.setdefault(clip.identity, clip)
    chosen = list(people.values())[8::9][:5]
    some = [filmed(warped(clip, model, partial(through, "normal"), 0.0), 125) for clip in chosen]
    result: dict[str, Any] = {}
    for loss in (0.0, 0.02, 0.1):
        for chain in (1, 3, 6, 64, 0):
            call = Call(MotionSettings(chain=chain), late=2, loss=loss, ahead=False, reports=31, behind=1)
            result[f"loss {loss} chain {chain}"] = asdict(measured(some, call))
    long = MotionSettings(chain=64)
    for behind, ease in ((0, 1.0), (1, 1.0), (1, 0.7), (1, 0.5)):
        call = Call(long, late=2, ahead=False, reports=31, behind=behind, ease=ease)
        result[f"behind {behind} ease {ease}"] = asdict(measured(some, call))
    result["off"] = asdict(measured(some, Call(motion=False)))
    return result


def main() -> None:
    """``python -m bench.motion [FILE.json]``, or ``python -m bench.motion calls [FILE.json]``."""
    arguments = sys.argv[1:]
    result = calls() if arguments[:1] == ["calls"] else run()
    arguments = arguments[1:] if arguments[:1] == ["calls"] else arguments
    print(json.dumps(result, indent=1))
    if arguments:
        Path(arguments[0]).write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
