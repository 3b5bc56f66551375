"""Whole DTLS records in, whole DTLS records out.

aiortc reads one record for each datagram that arrives, and writes at most 1500 bytes for each that it sends. When a
flight of the handshake is repeated on a lossy link, a record may stay behind in OpenSSL's buffer on either side, and
from then on every message comes out only when the next one comes in: one frame late, for the whole call.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiortc import RTCDtlsTransport
from OpenSSL import SSL

MAX_DATAGRAM = 1200
_HEADER = 13


def keep_drained(dtls: RTCDtlsTransport) -> None:
    """Let this one transport leave nothing behind in its buffers."""
    receive = dtls._recv_next

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
        for datagram in group_records(_read_all(dtls._ssl)):
            await dtls.transport._send(datagram)

    dtls._recv_next = recv_next  # type: ignore[method-assign]
    dtls._write_ssl = write_ssl  # type: ignore[method-assign]


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
