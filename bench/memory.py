"""``headwire bench memory``: what photos and patches are worth over the time of a call, on calls without a cut.

The uncut calls of the training data's folder and the demo's second clip, at most MOST_S of each, as Headwire files with one photo
and with budgets for the memory, and AV1 beside them. Every EVERY-th frame is compared. The first photo counts as in a call of 60 s.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import metrics
from bench.codecs import OPENING, Encoded, Frames, create_codec
from bench.quality_cells import settle
from bench.quality_clips import find_clips, load_clip
from codec.errors import HeadwireError

MOST_S = 60.0
EVERY = 10
CALL_S = 60.0
RATES = ("normal@0:auto", "normal@0.6:auto", "normal@2.3:auto", "normal@6:auto")
AV1 = ("12", "20")


@dataclass(frozen=True)
class Row:
    """Means over a clip. kbps: all bytes but headers of the wire, the first photo as in a call of CALL_S. lpips_by_10s: of each ten
    seconds since the start. flicker: mean difference of successive frames over the original's."""

    clip: str
    codec: str
    kbps: float
    lpips: float
    psnr: float
    l1: float
    flicker: float
    lpips_by_10s: tuple[float, ...]


def measured(name: str, codec: str, rate: str, frames: Frames, encoded: Encoded, shown: Frames, lpips: Any) -> Row:
    """The figures of one clip."""
    at = range(0, len(frames), EVERY)
    distance = lpips(frames[at], shown[at])
    second = np.array(at) / float(encoded.fps)
    tens = [distance[(second >= t) & (second < t + 10)].mean() for t in range(0, math.ceil(second[-1]), 10)]
    opening = sum(len(p.data) for p in encoded.packets if p.kind in OPENING)
    rest = sum(len(p.data) for p in encoded.packets) - opening

    def change(of: Frames) -> float:
        return float(np.mean([np.abs(of[n].astype(np.int16) - of[n - 1]).mean() for n in range(1, len(of))]))

    return Row(
        name,
        f"{codec} {rate}",
        round((rest / encoded.seconds + opening / CALL_S) * 0.008, 3),
        round(float(distance.mean()), 4),
        round(float(metrics.psnr(frames[at], shown[at]).mean()), 2),
        round(float(metrics.l1(frames[at], shown[at]).mean()), 2),
        round(change(shown) / max(change(frames), 1e-6), 3),
        tuple(round(float(x), 4) for x in tens),
    )


def run(
    clips: list[Path] | None = None, rates: tuple[str, ...] = RATES, av1: tuple[str, ...] = AV1, model: str = "warp"
) -> dict[str, Any]:
    """Measure; every row, and means over the clips. Raises HeadwireError where no clip can be had."""
    settle()
    lpips = metrics.Lpips("alex")
    rows: list[Row] = []
    for path in clips or [path for path, _ in find_clips(Path("long"))]:
        try:
            clip = load_clip(path, MOST_S)
        except HeadwireError as error:
            print(f"{path.name}: {error}")
            continue
        for codec, rate in [(model, rate) for rate in rates] + [("av1", rate) for rate in av1]:
            encoded = create_codec(codec).encode(clip.frames, clip.fps, rate)
            shown = create_codec(codec).decode(encoded)
            rows.append(measured(clip.name, codec, rate, clip.frames, encoded, shown, lpips))
            print(rows[-1], flush=True)
    if not rows:
        raise HeadwireError("no call to measure: the uncut clips and the demo's are not to be had")
    return {"rows": [asdict(row) for row in rows], "means": means(rows)}


def means(rows: list[Row]) -> dict[str, dict[str, float]]:
    """codec -> means over the clips."""
    out: dict[str, dict[str, float]] = {}
    for codec in dict.fromkeys(row.codec for row in rows):
        of = [row for row in rows if row.codec == codec]
        out[codec] = {
            key: round(float(np.mean([getattr(row, key) for row in of])), 4)
            for key in ("kbps", "lpips", "psnr", "l1", "flicker")
        }
    return out
