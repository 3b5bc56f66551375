"""The state of the link from SCTP's own acknowledgements: for calls whose parameters have a data channel.

An acknowledgement leaves ``LAZY`` seconds after the first packet that it is for has come (``transport.sctp_tuning``), so that packet's
round trip is known without a byte more; what lies before the newest acknowledged packet and is missing was lost. Times: s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from transport.feedback import Least, LinkState

HEADERS = 20 + 8 + 29 + 28
"""Bytes of a message's datagram besides the message."""

EVERY = 1.0
_MODULO = 2**32


class SctpLink:
    """``sent`` and ``acknowledged`` -> ``on_state(state)``, about once a second."""

    def __init__(self, lazy: float) -> None:
        self.on_state: Callable[[LinkState], None] = lambda state: None
        self._lazy = lazy
        self._under_way: OrderedDict[int, tuple[float, int]] = OrderedDict()
        self._base = Least()
        self._since: float | None = None
        self._waited: list[float] = []
        self._round_trip = 0.0
        self._came = self._lost = self._came_octets = self._sent_octets = 0

    def sent(self, number: int, size: int, now: float) -> None:
        """A chunk of the parameters' stream leaves; size: of the message."""
        self._under_way[number] = now, size + HEADERS
        self._sent_octets += size + HEADERS
        while len(self._under_way) > 500:
            self._under_way.popitem(last=False)

    def acknowledged(self, cumulative: int, gaps: Iterable[tuple[int, int]], now: float) -> None:
        """An acknowledgement has come: all chunks up to ``cumulative``, and those of the gaps' blocks, counted from it."""
        newest = cumulative
        seen = set()
        for first, last in gaps:
            newest = (cumulative + last) % _MODULO
            seen |= {(cumulative + place) % _MODULO for place in range(first, min(last, first + 500) + 1)}
        first_came = True
        for number in list(self._under_way):
            if (newest - number) % _MODULO >= _MODULO // 2:
                break
            left, size = self._under_way.pop(number)
            if number not in seen and (cumulative - number) % _MODULO >= _MODULO // 2:
                self._lost += 1
                continue
            self._came += 1
            self._came_octets += size
            if first_came:
                first_came = False
                self._round_trip = max(0.0, now - left - self._lazy)
                self._waited.append(self._round_trip - self._base.add(self._round_trip, now))
        if self._since is None:
            self._begin(now)
        elif now - self._since >= EVERY and self._waited:
            self._tell(now, now - self._since)

    def _begin(self, now: float) -> None:
        self._since = now
        self._waited.clear()
        self._came = self._lost = self._came_octets = self._sent_octets = 0

    def _tell(self, now: float, apart: float) -> None:
        state = LinkState(
            time=now,
            loss=self._lost / max(1, self._came + self._lost),
            queueing=min(self._waited),
            delivered_kbps=self._came_octets * 0.008 / apart,
            sent_kbps=self._sent_octets * 0.008 / apart,
            round_trip=self._round_trip,
        )
        self._begin(now)
        self.on_state(state)
