"""Counts every datagram at the UDP socket, and lets an emulated link spoil what is sent.

The sockets are opened deep inside aioice. ``Meter.attach`` marks the current context (and the tasks started from it);
while it lasts, the event loop's ``create_datagram_endpoint`` gives out endpoints that report to this meter. So STUN,
TURN, DTLS, SRTP and RTCP are all seen, with nothing to know about the library that sends them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from transport.link import Link

IP_UDP_HEADER = 28
"""IPv4 (20) and UDP (8) header, bytes."""

_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


@dataclass
class Direction:
    """What passed in one direction. Bytes include the headers of IPv4 and UDP.

    setup_bytes, setup_datagrams: before the call was connected (also in the totals). per_second: bytes in each second
    of the call. last: monotonic time of the newest datagram, s.
    """

    datagrams: int = 0
    bytes: int = 0
    setup_datagrams: int = 0
    setup_bytes: int = 0
    per_second: list[int] = field(default_factory=list)
    last: float | None = None

    def count(self, payload: int, now: float, start: float | None) -> None:
        size = payload + IP_UDP_HEADER
        self.datagrams += 1
        self.bytes += size
        self.last = now
        if start is None:
            self.setup_datagrams += 1
            self.setup_bytes += size
            return
        second = int(now - start)
        while len(self.per_second) <= second:
            self.per_second.append(0)
        self.per_second[second] += size


class Meter:
    """The wire as one end of a call sees it: ``sent`` and ``received``. ``on_sent(bytes, time)`` is told each datagram."""

    def __init__(self, link: Link | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.sent = Direction()
        self.received = Direction()
        self.start: float | None = None
        self.stop: float | None = None
        self.on_sent: Callable[[int, float], None] = lambda size, now: None
        self._link = link
        self._clock = clock

    def connected(self) -> None:
        """The call is connected: its seconds count from now, for the figures and for the link's outages."""
        self.start = self._clock()
        if self._link is not None:
            self._link.start(self.start)

    def finished(self) -> None:
        """The call is over: its seconds end now."""
        if self.stop is None:
            self.stop = self._clock()

    @property
    def seconds(self) -> float:
        """Length of the call so far, s; 0 before it is connected."""
        if self.start is None:
            return 0.0
        return (self.stop if self.stop is not None else self._clock()) - self.start

    def silence(self) -> float:
        """Seconds since the newest datagram from the peer (since the call began, if none came)."""
        newest = self.received.last if self.received.last is not None else self.start
        return 0.0 if newest is None else self._clock() - newest

    @contextmanager
    def attach(self) -> Iterator[None]:
        """UDP endpoints that are opened inside (in this task or in tasks started by it) report to this meter."""
        _instrument(asyncio.get_running_loop())
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def _on_sent(self, payload: int) -> list[float] | None:
        """Count a datagram -> the delays after which it is to be handed to the socket, s; None: at once."""
        now = self._clock()
        self.sent.count(payload, now, self.start)
        self.on_sent(payload + IP_UDP_HEADER, now)
        if self._link is None:
            return None
        return [max(0.0, at - now) for at in self._link.send(payload + IP_UDP_HEADER, now)]

    def _on_received(self, payload: int) -> None:
        self.received.count(payload, self._clock(), self.start)


class _MeteredTransport(asyncio.DatagramTransport):
    """Stands before a datagram transport; closing waits (at most half a second) for what the link still holds."""

    def __init__(self, inner: asyncio.DatagramTransport, meter: Meter) -> None:
        super().__init__()
        self._inner = inner
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._last_due = 0.0

    def sendto(self, data: Any, addr: Any = None) -> None:
        if self._closing:
            return
        delays = self._meter._on_sent(len(data))
        if delays is None:
            self._inner.sendto(data, addr)
            return
        for delay in delays:
            self._last_due = max(self._last_due, self._loop.time() + delay)
            self._loop.call_later(delay, self._deliver, bytes(data), addr)

    def _deliver(self, data: bytes, addr: Any) -> None:
        if not self._inner.is_closing():
            self._inner.sendto(data, addr)

    def close(self) -> None:
        self._closing = True
        remaining = self._last_due - self._loop.time()
        if remaining > 0:
            self._loop.call_later(min(remaining, 0.5) + 0.001, self._inner.close)
        else:
            self._inner.close()

    def abort(self) -> None:
        self._closing = True
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._closing or self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)


class _MeteredProtocol(asyncio.DatagramProtocol):
    def __init__(self, inner: asyncio.DatagramProtocol, meter: Meter) -> None:
        self.inner = inner
        self._meter = meter
        self.transport: _MeteredTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = _MeteredTransport(cast(asyncio.DatagramTransport, transport), self._meter)
        self.inner.connection_made(self.transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._meter._on_received(len(data))
        self.inner.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.inner.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)


def _instrument(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop's datagram endpoints report to the meter of their context. Harmless when repeated."""
    original = loop.create_datagram_endpoint
    if getattr(original, "metered", False):
        return

    async def create_datagram_endpoint(protocol_factory: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        meter = _current.get()
        if meter is None:
            return await original(protocol_factory, *args, **kwargs)
        _, protocol = await original(lambda: _MeteredProtocol(protocol_factory(), meter), *args, **kwargs)
        return protocol.transport, protocol.inner

    create_datagram_endpoint.metered = True  # type: ignore[attr-defined]
    loop.create_datagram_endpoint = create_datagram_endpoint  # type: ignore[method-assign]
