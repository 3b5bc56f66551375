"""What a viewer was shown, in numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class PlayedFigures:
    """shown: pictures. early: packets that came before the first photo. photo_at, first_at, last_at: monotonic time of the
    first photo and of the first and last picture. freeze_s: longest time without a new one. latencies_s: of the last hour's
    frames, frame read to frame handed to the sink. skews_s: their distance from the sound's. payload_bytes: of parameters and
    motion. damaged: messages that were not Headwire's.
    fields, fields_dropped: motion packets that were decoded, and that could not be."""

    shown: int = 0
    early: int = 0
    photo_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    freeze_s: float = 0.0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=90_000))
    skews_s: deque[float] = field(default_factory=lambda: deque(maxlen=90_000))
    payload_bytes: int = 0
    audio_bytes: int = 0
    photo_bytes: int = 0
    damaged: int = 0
    fields: int = 0
    fields_dropped: int = 0

    def latency_ms(self) -> dict[str, float | None]:
        """p50, p95 and max, ms."""
        return _percentiles(self.latencies_s) | {"max": _round(1000 * max(self.latencies_s, default=0.0))}

    def skew_ms(self) -> dict[str, float | None]:
        """p50 and p95 of how far sound and picture are apart, ms, whichever is late."""
        return _percentiles(self.skews_s)


def _percentiles(seconds: Sequence[float] | deque[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(1000 * np.asarray(seconds), (50, 95))
    return {"p50": _round(p50), "p95": _round(p95)}


def _round(value: float) -> float:
    return round(float(value), 3)
