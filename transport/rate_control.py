"""Which rung of the ladder the link carries: down as soon as it shows its limit, up with ever more caution.

What is measured (``transport.feedback.LinkState``) says three things. A queue that stands tells the link's capacity, since
what gets through is then all that it carries: the best rung below it is taken at once. A clean link says that there is no
queue at this rung, nothing about the next: that one is tried after a while, and each time it fails the while doubles. Loss without
a queue is the link's nature, not its limit: fewer packets would be lost in the same share, so it changes nothing, unless it
began with the rung. Pure: time is an argument, in seconds; ``rung`` is an index, 0 the most expensive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transport.feedback import LinkState


@dataclass(frozen=True)
class Rung:
    """bundle: frames of a message. frame_rate: per second. carrier: by its name. wire_kbps: forward, all headers included;
    ``name``: of the parameter codec's tables. field_kbps: what the motion field may take of it."""

    name: str
    bundle: int
    frame_rate: float
    carrier: str
    wire_kbps: float
    field_kbps: float = 0.0


LADDERS: dict[str, tuple[Rung, ...]] = {
    "opus": (
        Rung("normal", 1, 25, "opus", 12.3),
        Rung("low", 2, 25, "opus", 6.6),
        Rung("lowest", 4, 25, "opus", 3.5),
        Rung("lowest", 4, 12.5, "opus", 2.0),
    ),
    "datachannel": (
        Rung("normal", 1, 25, "datachannel", 20.1),
        Rung("low", 2, 25, "datachannel", 10.8),
        Rung("lowest", 4, 25, "datachannel", 5.5),
        Rung("lowest", 4, 12.5, "datachannel", 2.9),
    ),
}
"""By carrier: what is said in ``hello`` decides it for the call; measured by ``bench wire``."""

FIELDS: dict[str, tuple[float, ...]] = {"normal": (1.8, 0.6), "low": (1.2, 0.4), "lowest": (0.8, 0.25)}
"""kbps that the motion field may take at most, by the rung's name, dearest first. It rides in the parameters' messages."""


def with_field(rungs: Sequence[Rung]) -> list[Rung]:
    """A ladder for a call with a motion field: each rung with the field's rates; on a narrow link the field gives way first."""
    return [
        replace(rung, field_kbps=kbps, wire_kbps=rung.wire_kbps + kbps) for rung in rungs for kbps in FIELDS[rung.name]
    ]


STANDING = 0.12
"""Seconds of queueing that are too many."""

TRIED = 0.06
"""The same of a rung that is being tried."""

LIGHT = 0.05
"""Seconds of queueing below which a link is clean."""

DRAINING = 0.03
"""Seconds of queue that a rung below the capacity takes away in each second, at least: then there is time to wait."""

HEADROOM = 0.95
"""Of the capacity that a rung may take."""

SETTLE = 0.3
"""Seconds after a change; what was sent before they have passed says nothing of the new rung."""

PATIENCE = 5.0
"""Seconds of a clean link until the next rung is tried, where nothing speaks against it."""

DOUBT, MOST_DOUBT = 20.0, 600.0
"""The same where the link has shown that it carries less; doubled by every trial that fails."""

TRIAL = 60.0
"""Seconds in which a rung that was tried may fail, so that the next trial has to wait longer."""

STEP = 8.0
"""Seconds from one trial to that of the rung above, at least."""

_LOSSY = 0.12
_SAMPLES = 4


class RateController:
    """``update`` with every state of the link -> the index of the rung to use."""

    def __init__(self, rungs: Sequence[Rung], start: int = 0, voice_kbps: float = 0.0) -> None:
        """rungs: dearest first. voice_kbps: what the call takes besides the face."""
        if not rungs or not 0 <= start < len(rungs):
            raise ValueError("a ladder has at least one rung, and the first one in use is one of them")
        self.rungs = tuple(rungs)
        self.rung = start
        self.capacity_kbps: float | None = None
        self.voice_kbps = voice_kbps
        self._changed = float("-inf")
        self._rung_before = start
        self._drained = True
        self._clean_since: float | None = None
        self._doubt = DOUBT
        self._tried_at: float | None = None
        self._loss_before = 0.0
        self._recent: deque[LinkState] = deque(maxlen=_SAMPLES)

    def update(self, state: LinkState) -> int:
        now = state.time
        if now - state.round_trip < self._changed + SETTLE:
            return self.rung
        self._recent.append(state)
        if self._failing(state):
            self._down(state)
        elif state.queueing > LIGHT + self._transit:
            self._clean_since = None
        else:
            self._drained = True
            self._clean(state)
        return self.rung

    def _failing(self, state: LinkState) -> bool:
        fresh = self._tried_at is not None and state.time - self._tried_at < STEP
        lately = min(s.queueing for s in list(self._recent)[-2:])
        limit = TRIED if fresh and len(self._recent) > 1 else STANDING
        if (lately if fresh else state.queueing) > limit + self._transit:
            first = self._recent[0]
            apart = state.time - first.time
            if self._rung_before >= self.rung or self._drained:
                return True
            return apart > 0.6 and state.queueing > first.queueing - DRAINING * apart
        tried = self._tried_at is not None and state.time - self._tried_at < TRIAL
        mean = sum(s.loss for s in self._recent) / len(self._recent)
        return tried and len(self._recent) >= 3 and mean > self._loss_before + _LOSSY

    def _down(self, state: LinkState) -> None:
        now = state.time
        if self._tried_at is not None and now - self._tried_at < TRIAL:
            self._doubt = min(MOST_DOUBT, 2 * self._doubt)
        self._tried_at = self._clean_since = None
        if state.queueing > TRIED + self._transit:
            delivered = max(s.delivered_kbps for s in self._recent if s.queueing > LIGHT)
            self.capacity_kbps = delivered if delivered > 0 else None
        if self.rung + 1 == len(self.rungs):
            return
        known = self.capacity_kbps
        target = self.rung + 1
        while known is not None and target + 1 < len(self.rungs) and self._cost(target) > HEADROOM * known:
            target += 1
        self._change(target, now)

    def _clean(self, state: LinkState) -> None:
        now = state.time
        if self._clean_since is None:
            self._clean_since = now
        if self._tried_at is not None and now - self._tried_at >= TRIAL:
            self._tried_at = None
            self._doubt = DOUBT
        if self._tried_at is not None and self.capacity_kbps is not None and now - self._changed >= STEP:
            self.capacity_kbps = max(self.capacity_kbps, self._cost(self.rung) / HEADROOM)
        if self.rung == 0 or now - self._clean_since < self._patience or now - self._changed < STEP:
            return
        self._loss_before = sum(s.loss for s in self._recent) / len(self._recent)
        self._change(self.rung - 1, now)
        self._tried_at = now

    @property
    def _patience(self) -> float:
        known = self.capacity_kbps
        if known is None or self._cost(self.rung - 1) <= HEADROOM * known:
            return PATIENCE
        return self._doubt * self._cost(self.rung - 1) / known

    @property
    def _transit(self) -> float:
        """Seconds that a packet itself takes on a link that is known to be narrow: they are no queue."""
        if self.capacity_kbps is None:
            return 0.0
        rung = self.rungs[self.rung]
        return rung.wire_kbps * rung.bundle / rung.frame_rate / self.capacity_kbps

    def _cost(self, rung: int) -> float:
        return self.rungs[rung].wire_kbps + self.voice_kbps

    def _change(self, rung: int, now: float) -> None:
        self._rung_before, self.rung = self.rung, rung
        self._changed = now
        self._drained = False
        self._clean_since = None
        self._recent.clear()
