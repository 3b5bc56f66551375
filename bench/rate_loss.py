"""What loss does to the face: packets dropped by a seeded pattern, the receiver's concealment, errors against no loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rate_curve import FRAME_RATE, errors, reference_of
from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import Floats
from codec.quantiser import Tables, from_z
from codec.seen_points import SeenPoints
from receiver.concealment import Concealment
from training.entropy import ACKNOWLEDGED_AFTER, Sequence35

PERIOD_MS = 40.0
Dropped = Callable[[int], bool]
"""Number of a packet -> whether it is lost."""


def received(
    sequence: Sequence35,
    rung: str,
    tables: Tables,
    model: FaceModel,
    dropped: Dropped,
    wait: int = 0,
    silence: bool = False,
    again: int = 0,
    echo: int = 0,
) -> tuple[Floats, int, int]:
    """(T', 35) what is shown for each frame, how many packets would not decode, and the bytes sent.

    wait: frames that the receiver waits longer than a bundle needs. again: frames of each packet that ride along again.
    echo: packets before it that go out once more with each packet.
    """
    encoder = ParameterEncoder(rung, tables, SeenPoints(model, sequence.neutral, tables), silence, again)
    decoder, concealment = ParameterDecoder(tables), Concealment(tables, PERIOD_MS)
    reference = reference_of(sequence, tables)
    encoder.set_reference(reference)
    decoder.keys.set_reference(reference)
    concealment.reconstruction.set_reference(reference)
    bundle = int(tables.frames[encoder.rung])
    shown, packets, refused, size = [], 0, 0, 0
    sent: deque[tuple[bytes, int]] = deque(maxlen=echo + 1)
    waiting: list[tuple[int, tuple[int, int]]] = []
    for t, vector in enumerate(sequence.vectors):
        while waiting and waiting[0][0] <= t:
            encoder.acknowledge(*waiting.pop(0)[1])
        data = encoder.encode(vector)
        if data is not None:
            sent.append((data, t))
            size += sum(len(riding) for riding, _ in sent)
            for riding, at in sent if not dropped(packets) else ():
                try:
                    packet = decoder.decode(riding)
                    concealment.push(packet, at * PERIOD_MS)
                    if packet.stored is not None:
                        waiting.append((t + ACKNOWLEDGED_AFTER, packet.stored))
                except BitstreamError:
                    refused += 1
            packets += 1
        due = t - (bundle - 1) - wait
        if due >= 0:
            now = concealment.at(due * PERIOD_MS)
            shown.append(vector * 0 + from_z(now.z, tables) if now else sequence.vectors[0])
    return np.array(shown, np.float32), refused, size


def random_loss(share: float, seed: int = 1) -> Dropped:
    """Packets lost one by one with that probability; one seed, one pattern."""
    lost = np.random.default_rng(seed).random(100_000) < share
    return lambda number: bool(lost[number])


def burst(first: int, count: int) -> Dropped:
    """``count`` packets lost from number ``first`` on."""
    return lambda number: first <= number < first + count


def frame_errors(model: FaceModel, sequence: Sequence35, shown: Floats) -> NDArray[np.float64]:
    """(T',) rms of each frame, pixels."""
    e = errors(model, sequence, shown)
    return np.asarray(np.sqrt((e**2).mean(axis=1)), np.float64)


def under_loss(
    rung: str,
    sequences: Sequence[Sequence35],
    tables: Tables,
    model: FaceModel,
    share: float = 0.25,
    wait: int = 0,
    again: int = 0,
    echo: int = 0,
) -> dict[str, Any]:
    """Frame errors with and without random loss: rms and median, pixels; their ratios; packets that would not decode.
    freeze_ms: the longest time for which the same is shown.

    kbps: of payload, over all frames together.
    """
    whole = [received(s, rung, tables, model, lambda _: False, wait, again=again, echo=echo) for s in sequences]
    clean = np.concatenate([frame_errors(model, s, run[0]) for s, run in zip(sequences, whole, strict=True)])
    runs = [
        received(s, rung, tables, model, random_loss(share, k), wait, again=again, echo=echo)
        for k, s in enumerate(sequences)
    ]
    lossy = np.concatenate([frame_errors(model, s, run[0]) for s, run in zip(sequences, runs, strict=True)])
    return {
        "rms": _rms(lossy), "rms_no_loss": _rms(clean), "median": float(np.median(lossy)),
        "median_no_loss": float(np.median(clean)), "rms_ratio": _rms(lossy) / _rms(clean),
        "median_ratio": float(np.median(lossy) / np.median(clean)), "undecodable": sum(run[1] for run in runs),
        "freeze_ms": max(longest_hold(run[0]) for run in runs) * PERIOD_MS,
        "kbps": sum(run[2] for run in whole) * 8 * FRAME_RATE / 1000 / sum(len(s.vectors) for s in sequences),
    }  # fmt: skip


def longest_hold(shown: Floats) -> int:
    """(T, 35) what is shown -> the most frames in a row that show the same as the one before them."""
    same = np.abs(np.diff(shown, axis=0)).max(axis=1) < 1e-6
    longest = run = 0
    for still in same[1:]:
        run = run + 1 if still else 0
        longest = max(longest, run)
    return longest


def _rms(e: NDArray[np.float64]) -> float:
    return float(np.sqrt((e**2).mean()))


def after_burst(
    rung: str, sequences: Sequence[Sequence35], tables: Tables, model: FaceModel, frames: int = 10
) -> list[float]:
    """Median frame error, pixels: of the last lost frame, then of the bundles after a burst of so many lost frames."""
    bundle = int(tables.frames[tables.rung(rung)])
    first, count = 24 // bundle, -(-frames // bundle)
    rows = []
    for s in sequences:
        e = frame_errors(model, s, received(s, rung, tables, model, burst(first, count))[0])
        end = (first + count) * bundle
        if len(e) > end + 4 * bundle:
            rows.append([e[end - 1], *(e[end + k * bundle] for k in range(4))])
    return [round(float(v), 3) for v in np.median(rows, axis=0)]
