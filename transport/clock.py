"""The peer's clock as seen from here: offset by pings, the one with the shortest round trip counts (as in NTP)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PINGS_AT_START = 3
KEPT = 8


@dataclass(frozen=True)
class ClockSample:
    """offset: the peer's monotonic clock minus ours, s. round_trip: s; half of it bounds the offset's error."""

    offset: float
    round_trip: float


class PeerClock:
    """Estimates the offset between the two ends' monotonic clocks. On one machine they are one clock: about 0."""

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=KEPT)

    def add(self, sent: float, answered: float, received: float) -> None:
        """A ping left at ``sent`` (our clock), was answered at ``answered`` (theirs), and came back at ``received``."""
        if received >= sent:
            self._samples.append(ClockSample(answered - (sent + received) / 2, received - sent))

    @property
    def estimate(self) -> ClockSample | None:
        """The best of the newest samples, None before the first."""
        return min(self._samples, key=lambda sample: sample.round_trip, default=None)

    def to_local(self, peer_time: float) -> float | None:
        """A time of the peer's clock on ours, s; None while nothing is known."""
        best = self.estimate
        return None if best is None else peer_time - best.offset
