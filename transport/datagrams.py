"""Whole DTLS records in, whole DTLS records out.

aiortc reads one record for each datagram that arrives, and writes at most 1500 bytes for each that it sends. When a
flight of the handshake is repeated on a lossy link, a record may stay behind in OpenSSL's buffer on either side, and
from then on every message comes out only when the next one comes in: one frame late, for the whole call.

Flights of the handshake that get no answer are repeated after ``PATIENCE``, as they are, for a receiver ignores records that it
has. OpenSSL waits 1, 2, 4 and 8 s: where one datagram in four gets lost, a set-up then takes up to 20 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from aiortc import RTCDtlsTransport
from OpenSSL import SSL

MAX_DATAGRAM = 1200
PATIENCE = 0.8
"""Seconds: on a link of 20 kbps with a round trip of 100 ms an answer takes 0.6."""

_HEADER = 13


def keep_drained(dtls: RTCDtlsTransport) -> None:
    """Let this one transport leave nothing behind in its buffers."""
    receive = dtls._recv_next
    repeats = _Repeats(dtls)

    async def recv_next() -> None:
        await receive()
        assert dtls._ssl is not None
        while dtls.encrypted and dtls.state == "connected":
            try:
                data = dtls._ssl.recv(1500)
            except SSL.ZeroReturnError as error:
                raise ConnectionError from error
            except SSL.Error:
                return
            if data and dtls._data_receiver:
                await dtls._data_receiver._handle_data(data)

    async def write_ssl() -> None:
        assert dtls._ssl is not None
        flight = list(group_records(_read_all(dtls._ssl)))
        repeats.sent(flight)
        for datagram in flight:
            await dtls.transport._send(datagram)

    dtls._recv_next = recv_next  # type: ignore[method-assign]
    dtls._write_ssl = write_ssl  # type: ignore[method-assign]


class _Repeats:
    """Sends the newest flight again while the handshake waits for an answer to it."""

    def __init__(self, dtls: RTCDtlsTransport) -> None:
        self._dtls = dtls
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def sent(self, flight: list[bytes]) -> None:
        if flight:
            self._wait(flight)

    def _wait(self, flight: list[bytes]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._dtls.encrypted:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._due, flight)

    def _due(self, flight: list[bytes]) -> None:
        if self._dtls.state == "connecting" and not self._dtls.encrypted:
            self._task = asyncio.ensure_future(self._send(flight))
            self._wait(flight)

    async def _send(self, flight: list[bytes]) -> None:
        with suppress(ConnectionError):
            for datagram in flight:
                await self._dtls.transport._send(datagram)


def group_records(data: bytes, limit: int = MAX_DATAGRAM) -> Iterator[bytes]:
    """Consecutive DTLS records (RFC 6347 section 4.1) -> datagrams of whole records, up to limit bytes if possible."""
    start = end = 0
    while end < len(data):
        size = _HEADER + int.from_bytes(data[end + 11 : end + 13], "big")
        if end > start and end + size - start > limit:
            yield data[start:end]
            start = end
        end += size
    if start < len(data):
        yield data[start:]


def _read_all(ssl: SSL.Connection) -> bytes:
    data = b""
    while True:
        try:
            data += ssl.bio_read(16384)
        except SSL.Error:
            return data
