"""Whether the peer is still there, and what its clock says: two questions that pings answer.

Silence is measured on all datagrams (parameters, acknowledgements, ICE's own consent checks every 5 s), so that a
living call needs no traffic of its own for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from transport.clock import PINGS_AT_START, PeerClock
from transport.metering import Meter

AT_START = 2.0
"""Seconds until the first ping and between the first ones: a round of them costs as much as 400 bytes of the first photo."""

STEP = 0.25
"""Seconds between two looks; a look that comes much later than that was not awake to hear anything."""


@dataclass(frozen=True)
class KeepaliveOptions:
    """silence_seconds: without a datagram for so long, the peer is gone (ICE alone breaks at most 6 s of silence).

    hint_seconds: the same once signalling saw it leave and it was asked for a sign of life.
    clock_seconds: between pings for the clock's offset, after a few at the start; None for none at all.
    """

    silence_seconds: float = 12.0
    hint_seconds: float = 3.0
    clock_seconds: float | None = 20.0


class Keepalive:
    """Watches one peer. ``run`` ends with a call of ``gone(reason)``, or is cancelled."""

    def __init__(
        self, options: KeepaliveOptions, meter: Meter, send_ping: Callable[[int], None], gone: Callable[[str], None]
    ) -> None:
        self.clock = PeerClock()
        self._options = options
        self._meter = meter
        self._send_ping = send_ping
        self._gone = gone
        self._sent: dict[int, float] = {}
        self._count = 0
        self._left_at: float | None = None

    def ping(self) -> None:
        self._sent[self._count] = time.monotonic()
        self._send_ping(self._count)
        self._count += 1
        self._sent.pop(self._count - 16, None)

    def answered(self, number: int, peer_time: float) -> None:
        """A ping's answer has come, with the peer's monotonic time, s."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self.clock.add(sent, peer_time, time.monotonic())

    def peer_left_signalling(self) -> None:
        """Perhaps it is gone, perhaps only its way to the signalling server."""
        self._left_at = time.monotonic()
        self.ping()

    async def run(self) -> None:
        clock = self._options.clock_seconds
        next_ping = time.monotonic() + min(AT_START, clock if clock is not None else 0.0)
        pings = 0
        while True:
            before = time.monotonic()
            await asyncio.sleep(STEP)
            now = time.monotonic()
            if now - before > 4 * STEP:
                continue
            silence = self._meter.silence()
            if silence > self._limit(now):
                self._gone(f"nothing was heard from the other side for {silence:.0f} s")
                return
            if clock is not None and now >= next_ping:
                self.ping()
                pings += 1
                next_ping = now + (min(AT_START, clock) if pings < PINGS_AT_START else clock)

    def _limit(self, now: float) -> float:
        hint = self._options.hint_seconds
        left = self._left_at is not None and now - self._left_at >= hint
        return hint if left else self._options.silence_seconds
