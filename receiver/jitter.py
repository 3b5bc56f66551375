"""The jitter buffer: packets as they arrive in, the moments of the frames to show out.

Every packet says when its last frame was captured. The transit of its first frame (arrival - capture) is the path's delay, the
bundle's, and an unknown clock offset; the smallest transit of the last seconds is the path at rest, and what goes beyond is
jitter. A frame is due at ``capture + smallest transit + playout delay``, where the playout delay follows the 97th percentile of
the jitter: it rises at once and falls slowly. On a good path that is a millisecond or two.

A frame that misses its time is shown at once, unless a newer one has been shown already. When nothing has come for the next
frame well after it was due, the buffer asks for it all the same, for 200 ms: what to show then is ``receiver.concealment``'s.
Nothing here sleeps or reads a clock: time is an argument, so the behaviour is exact and testable.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from codec.parameter_codec import SEQUENCES

WINDOW = 100
"""Packets that the transit statistics look back on (4 s at 25 a second)."""

SETTLING = 12
"""Packets at the start that are shown as they come and teach nothing: photos and programs are still being loaded."""

MAX_DELAY_S = 0.4
"""Two bundles of four frames: what a packet that was lost twice and rides along again comes late."""

PERCENTILE = 0.97
"""Of the jitter, which the playout delay follows: of 25 % lost packets that ride along twice again, most are waited for."""

PATIENCE = 0.75
"""Periods after its time at which a frame counts as missing."""

CONCEAL_S = 0.2
"""How far beyond the newest frame that has come the picture goes on."""

_BELIEVED_S, _BELIEVED_PACKETS = 0.45, 5
"""How far what the numbers say may be from the time that has passed, the longer of the two: a packet of four frames that a
queue has held up for 0.7 s would be taken for one a second younger, and all after it, too."""

_FALL_PER_PACKET = 0.93
_CAPACITY = 64


@dataclass(frozen=True)
class Due:
    """A frame to show. time_s: its capture time since the sender's epoch. concealed: it has not come."""

    time_s: float
    concealed: bool = False


@dataclass(frozen=True)
class JitterStatistics:
    """Frames. lost: never came. late: came after a newer one was shown. skipped: due together with a newer one, not
    shown. recovered: shown without having come. duplicates: packets that came twice."""

    lost: int = 0
    late: int = 0
    skipped: int = 0
    recovered: int = 0
    duplicates: int = 0


class JitterBuffer:
    """Hands out frame times when they are due. period_s: between two frames of the source."""

    def __init__(self, period_s: float = 0.04) -> None:
        self.period_s = period_s
        self.delay_s = 0.0
        self._counts = JitterStatistics()
        self.restart()

    def restart(self) -> None:
        """A new sender, or the old one again: its clock and numbers start anew; the counts go on."""
        self._waiting: list[float] = []
        self._transits: deque[float] = deque(maxlen=WINDOW)
        self._times: deque[float] = deque(maxlen=_CAPACITY)
        self._newest: tuple[int, float] | None = None
        self._newest_arrival = 0.0
        self._stride = SEQUENCES
        self._shown: float | None = None
        self._settling = SETTLING
        self.delay_s = 0.0

    def guess(self, sequence: int, frames: int, arrival_s: float) -> float | None:
        """About when the last frame of a packet that arrives now was captured, by the one before; None for the first.

        The sequence number says how many packets on it is, whatever queues have grown; where that and the time that has passed
        are far apart (the sender paused, or more packets are missing than the number can say), time is believed.
        """
        if self._newest is None:
            return None
        before, newest = self._newest
        steps = (sequence - before + 4) % SEQUENCES - 4
        apart = min(frames, self._stride) * self.period_s
        counted = newest + steps * apart
        passed = newest + arrival_s - self._newest_arrival
        believed = max(_BELIEVED_S, _BELIEVED_PACKETS * apart)
        return counted if abs(passed - counted) < believed else passed

    def guess_by_time(self, arrival_s: float) -> float | None:
        """The same for a message without a packet: by the time that has passed alone."""
        return None if self._newest is None else self._newest[1] + arrival_s - self._newest_arrival

    def push(self, sequence: int, time_s: float, frames: int, arrival_s: float) -> None:
        """Take a packet. sequence: counts packets, modulo 16. time_s: of its last frame; frames: in its bundle."""
        if any(abs(time_s - seen) < self.period_s / 4 for seen in self._times):
            self._count(duplicates=1)
            return
        if self._newest is not None and sequence == (self._newest[0] + 1) % SEQUENCES and time_s > self._newest[1]:
            self._stride = max(1, round((time_s - self._newest[1]) / self.period_s))
        if self._newest is None or time_s > self._newest[1]:
            self._newest_arrival = arrival_s
        self._count_lost(sequence, time_s, frames)
        first = time_s - (frames - 1) * self.period_s
        self._learn(arrival_s - first)
        coming = [first + i * self.period_s for i in range(frames)]
        coming = [t for t in coming if not any(abs(t - seen) < self.period_s / 4 for seen in self._times)]
        self._times.extend(coming)
        fresh = [t for t in coming if self._shown is None or t > self._shown + self.period_s / 4]
        self._count(late=len(coming) - len(fresh))
        self._waiting = sorted(self._waiting + fresh)
        if len(self._waiting) > _CAPACITY:
            self._count(skipped=len(self._waiting) - _CAPACITY)
            del self._waiting[:-_CAPACITY]

    def pop(self, now_s: float) -> Due | None:
        """The newest frame that is due, or None. Older due frames are dropped."""
        offset = self._rest() + self.delay_s
        due = [t for t in self._waiting if t + offset <= now_s]
        if due:
            self._count(skipped=len(due) - 1)
            self._waiting = self._waiting[len(due) :]
            self._shown = due[-1]
            return Due(due[-1])
        missing = self._missing()
        if missing is not None and missing + offset + PATIENCE * self.period_s <= now_s:
            self._shown = missing
            self._count(recovered=1)
            return Due(missing, concealed=True)
        return None

    def next_due(self) -> float | None:
        """When ``pop`` will have something, on the clock of ``push``; None while nothing is expected."""
        offset = self._rest() + self.delay_s
        missing = self._missing()
        moments = [] if missing is None else [missing + offset + PATIENCE * self.period_s]
        moments += [self._waiting[0] + offset] if self._waiting else []
        return min(moments, default=None)

    @property
    def statistics(self) -> JitterStatistics:
        """Counts so far."""
        return self._counts

    def _rest(self) -> float:
        return min(self._transits, default=0.0)

    def _missing(self) -> float | None:
        """The frame after the one shown, if it is to be concealed when it does not come."""
        if self._shown is None or self._newest is None:
            return None
        following = self._shown + self.period_s
        return following if following <= self._newest[1] + CONCEAL_S + 1e-9 else None

    def _learn(self, transit: float) -> None:
        self._transits.append(transit)
        self._settling -= 1
        if self._settling > 0:
            return
        if self._settling == 0:
            self._transits = deque([transit], maxlen=WINDOW)
        rest = self._rest()
        jitter = sorted(t - rest for t in self._transits)[int(PERCENTILE * (len(self._transits) - 1))]
        self.delay_s = min(max(jitter, self.delay_s * _FALL_PER_PACKET), MAX_DELAY_S)

    def _count_lost(self, sequence: int, time_s: float, frames: int) -> None:
        if self._newest is None:
            self._newest = (sequence, time_s)
            return
        before, newest = self._newest
        if time_s < newest:
            self._count(lost=-frames if self._counts.lost >= frames else 0)
            return
        expected = (time_s - newest) / (self.period_s * frames) - 1
        gap = (sequence - before - 1) % SEQUENCES
        gap += SEQUENCES * max(0, round((expected - gap) / SEQUENCES))
        missing = max(0, round((time_s - newest) / self.period_s) - frames)
        self._count(lost=min(gap * frames, missing))
        self._newest = (sequence, time_s)

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})
