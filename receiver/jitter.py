"""The jitter buffer: packets as they arrive in, frames when they are due out.

Every packet carries its capture time. Its transit (arrival - capture) is the path's delay plus an unknown clock offset;
the smallest transit of the last seconds is the path at rest, and what goes beyond is jitter. A frame is due at
``capture + smallest transit + playout delay``, where the playout delay follows the 95th percentile of the jitter: it
rises at once and falls slowly. On a good path that is a millisecond or two.

A frame that misses its time is shown at once, unless a newer one has been shown already. Nothing here sleeps or reads a
clock: time is an argument, so the behaviour is exact and testable.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from codec.packets import FramePacket

WINDOW = 250
"""Packets that the transit statistics look back on (10 s at 25 fps)."""

SETTLING = 25
"""Packets at the start that are shown as they come and teach nothing: photos and programs are still being loaded."""

MAX_DELAY_S = 0.3
_FALL_PER_PACKET = 0.93
_CAPACITY = 64


@dataclass
class JitterStatistics:
    """received: distinct packets. lost: never came. late: came after a newer one was shown. skipped: due together
    with a newer one, not shown. duplicates: copies."""

    received: int = 0
    lost: int = 0
    late: int = 0
    skipped: int = 0
    duplicates: int = 0


class JitterBuffer:
    """Orders packets by sequence number and hands each out when it is due."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[FramePacket, float]] = {}
        self._transits: deque[float] = deque(maxlen=WINDOW)
        self._seen: deque[int] = deque(maxlen=1024)
        self._highest: int | None = None
        self._first: int | None = None
        self._shown: int | None = None
        self._counts = JitterStatistics()
        self._lost_before = 0
        self._received_before = 0
        self._settling = SETTLING
        self.delay_s = 0.0

    def restart(self) -> None:
        """A new sender, or the old one again: its sequence numbers and clock start anew; the counts go on."""
        self._lost_before += self._lost()
        self._waiting.clear()
        self._transits.clear()
        self._settling = SETTLING
        self._seen.clear()
        self._highest = self._first = self._shown = None
        self._received_before = self._counts.received

    def push(self, packet: FramePacket, arrival_s: float) -> None:
        """Take a packet that arrived at ``arrival_s``."""
        number = self._unwrap(packet.sequence)
        if number in self._seen:
            self._counts.duplicates += 1
            return
        self._seen.append(number)
        self._counts.received += 1
        self._first = number if self._first is None else min(self._first, number)
        self._highest = number if self._highest is None else max(self._highest, number)
        self._learn(arrival_s - packet.time_ms / 1000)
        if self._shown is not None and number <= self._shown:
            self._counts.late += 1
            return
        self._waiting[number] = (packet, packet.time_ms / 1000)
        if len(self._waiting) > _CAPACITY:
            del self._waiting[min(self._waiting)]
            self._counts.skipped += 1

    def pop(self, now_s: float) -> FramePacket | None:
        """The newest frame that is due, or None. Older due frames are dropped."""
        due = [n for n, (_, time_s) in self._waiting.items() if time_s + self._offset() <= now_s]
        if not due:
            return None
        newest = max(due)
        packet = self._waiting[newest][0]
        for number in [n for n in self._waiting if n <= newest]:
            self._counts.skipped += number != newest
            del self._waiting[number]
        self._shown = newest
        return packet

    def next_due(self) -> float | None:
        """When ``pop`` will have something, on the clock of ``push``; None while nothing waits."""
        if not self._waiting:
            return None
        return min(time_s for _, time_s in self._waiting.values()) + self._offset()

    @property
    def statistics(self) -> JitterStatistics:
        """Counts so far."""
        c = self._counts
        return JitterStatistics(c.received, self._lost_before + self._lost(), c.late, c.skipped, c.duplicates)

    def _lost(self) -> int:
        if self._highest is None or self._first is None:
            return 0
        return max(0, self._highest - self._first + 1 - (self._counts.received - self._received_before))

    def _offset(self) -> float:
        return min(self._transits, default=0.0) + self.delay_s

    def _learn(self, transit: float) -> None:
        self._transits.append(transit)
        self._settling -= 1
        if self._settling > 0:
            return
        if self._settling == 0:
            self._transits = deque([transit], maxlen=WINDOW)
        rest = min(self._transits)
        jitter = sorted(t - rest for t in self._transits)[int(0.95 * (len(self._transits) - 1))]
        self.delay_s = min(max(jitter, self.delay_s * _FALL_PER_PACKET), MAX_DELAY_S)

    def _unwrap(self, sequence: int) -> int:
        if self._highest is None:
            return sequence
        return self._highest + (sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000
