"""An emulated bad link in user space: loss, delay, jitter, rate, outages, reordering, duplication.

One seed gives one result. It stands where the kernel's netem would, on the sending side of a UDP socket (see
``transport.metering``), so that a link can be bad without any privilege. Order of events for a datagram: outage,
queue and rate, loss, delay.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

from codec.errors import UsageError

_LIMITS: dict[str, tuple[float, float]] = {
    "loss": (0, 0.95),
    "delay": (0, 10_000),
    "jitter": (0, 10_000),
    "rate": (1, 1_000_000),
    "reorder": (0, 1),
    "duplicate": (0, 1),
    "burst": (1, 100),
    "queue": (1, 60_000),
}


@dataclass(frozen=True)
class LinkSpec:
    """What the link does to each direction.

    loss: share of datagrams lost. delay: one way, ms. jitter: the delay is uniform in delay +- jitter ms, order kept.
    rate: kbps, headers of IP and UDP included; None for no limit. queue: what the limiter holds before it drops, ms.
    outage: (start, end) in seconds of the call, in which nothing passes. reorder: share held back long enough to be
    overtaken. duplicate: share delivered twice. burst: mean length of a run of losses, datagrams (Gilbert's model).
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    outage: tuple[tuple[float, float], ...] = ()
    reorder: float = 0.0
    duplicate: float = 0.0
    burst: float = 1.0
    queue: float = 1000.0
    seed: int = 0

    @staticmethod
    def parse(text: str) -> LinkSpec:
        """``loss=0.25,delay=50,jitter=20,rate=20,outage=5-7,seed=1`` -> spec; several outages: ``5-7+20-22``.

        Raises UsageError for an unknown name, a value that is no number, or one outside sense.
        """
        values: dict[str, object] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = item.partition("=")
            if not separator:
                raise UsageError(f"--link: '{item}' is not name=value, such as loss=0.25")
            if name in values:
                raise UsageError(f"--link: '{name}' is given twice")
            values[name] = _value(name, value)
        return LinkSpec(**values)  # type: ignore[arg-type]


def _value(name: str, text: str) -> object:
    if name == "outage":
        return tuple(_outage(part) for part in text.split("+"))
    if name == "seed":
        if not text.isdecimal() or len(text) > 18:
            raise UsageError(f"--link: seed={text} is not a whole number of at most 18 digits")
        return int(text)
    if name not in _LIMITS:
        known = ", ".join(f.name for f in fields(LinkSpec))
        raise UsageError(f"--link: there is no '{name}'; known are {known}")
    low, high = _LIMITS[name]
    number = _number(f"{name}={text}", text)
    if not low <= number <= high:
        raise UsageError(f"--link: {name}={text} is outside {low:g} to {high:g}")
    return number


def _outage(text: str) -> tuple[float, float]:
    start, separator, end = text.partition("-")
    if not separator:
        raise UsageError(f"--link: outage={text} is not START-END in seconds, such as outage=5-7")
    span = (_number(f"outage={text}", start), _number(f"outage={text}", end))
    if not 0 <= span[0] < span[1] <= 86_400:
        raise UsageError(f"--link: outage={text} does not end after it starts")
    return span


def _number(item: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--link: {item} is not a number")
    return number


class Link:
    """One direction of the link: decides for each datagram when it arrives, if at all.

    The same numbers are drawn for datagram n whatever its size and time, so that a seed gives one pattern of loss.
    """

    def __init__(self, spec: LinkSpec, direction: str = "") -> None:
        """direction: a name that makes the two directions of one seed differ."""
        self.spec = spec
        self._seed = f"{spec.seed}/{direction}"
        self._start: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._random = random.Random(self._seed)
        self._bad = False
        self._free_at = -math.inf
        self._last_arrival = -math.inf

    def start(self, now: float) -> None:
        """The call is connected: outages count from now, and the pattern of loss begins anew.

        What was still in the queue keeps its place.
        """
        free_at, last = self._free_at, self._last_arrival
        self._reset()
        self._free_at, self._last_arrival = free_at, last
        self._start = now

    def send(self, size: int, now: float) -> Sequence[float]:
        """A datagram of size bytes (headers included) leaves at now, s -> the times of arrival: none, one or two."""
        spec = self.spec
        loss, jitter, late, held, twice, gap = (self._random.random() for _ in range(6))
        lost = self._lost(loss)
        if self._start is not None and any(a <= now - self._start < b for a, b in spec.outage):
            return ()
        leaves = now
        if spec.rate is not None:
            if self._free_at - now > spec.queue / 1000:
                return ()
            leaves = self._free_at = max(now, self._free_at) + size * 8 / (spec.rate * 1000)
        if lost:
            return ()
        arrival = leaves + max(0.0, spec.delay + spec.jitter * (2 * jitter - 1)) / 1000
        if late < spec.reorder:
            arrival += max(spec.jitter, 40.0) * (0.5 + held) / 1000
        else:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        if twice < spec.duplicate:
            return (arrival, arrival + (1 + 20 * gap) / 1000)
        return (arrival,)

    def _lost(self, draw: float) -> bool:
        spec = self.spec
        if spec.loss == 0 or spec.burst <= 1:
            return draw < spec.loss
        leave_bad = 1 / spec.burst
        enter_bad = min(1.0, spec.loss * leave_bad / (1 - spec.loss))
        self._bad = draw >= leave_bad if self._bad else draw < enter_bad
        return self._bad
