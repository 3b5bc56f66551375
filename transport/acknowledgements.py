"""Fewer SCTP acknowledgements: the way back is part of the bill, and aiortc acknowledges every packet with 93 bytes.

RFC 9260 section 6.2 lets a receiver delay an acknowledgement by up to 500 ms (MUST), and asks for one per second packet
and within 200 ms (SHOULD). Parameters are never sent again, so nobody waits for their acknowledgement: they get one
every ``LAZY`` seconds. While photos or control messages come in, gaps must be reported sooner, or a lost one is noticed
late: then every packet with such data is acknowledged at once, and others within ``EAGER`` seconds.
"""

from __future__ import annotations

import asyncio
import time

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import DataChunk

LAZY = 0.4
EAGER = 0.06
RELIABLE_MEMORY = 2.0
"""Seconds after reliable data in which more of it is expected."""


class SparseAcknowledgements:
    """Replaces, on this one association, when acknowledgements are sent; what is in them stays aiortc's."""

    def __init__(self, sctp: RTCSctpTransport, lazy_stream: int) -> None:
        """lazy_stream: of the data that is never sent again."""
        self._sctp = sctp
        self._lazy_stream = lazy_stream
        self._send_now = sctp._send_sack
        self._receive = sctp._receive_data_chunk
        self._urgent = False
        self._reliable_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        sctp._send_sack = self._send_sack  # type: ignore[method-assign]
        sctp._receive_data_chunk = self._receive_data_chunk  # type: ignore[method-assign]

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        if chunk.stream_id != self._lazy_stream:
            self._urgent = True
            self._reliable_at = time.monotonic()
        await self._receive(chunk)

    async def _send_sack(self) -> None:
        if self._urgent:
            self._urgent = False
            self.cancel()
            await self._send_now()
        elif self._timer is None:
            expecting = time.monotonic() - self._reliable_at < RELIABLE_MEMORY
            delay = EAGER if expecting and self._sctp._sack_misordered else LAZY
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._sctp._sack_needed and self._sctp.state == "connected":
            task = asyncio.ensure_future(self._send_now())
            task.add_done_callback(_take_error)


def _take_error(task: asyncio.Future[None]) -> None:
    """The connection may have closed in between, which others notice and tell."""
    if not task.cancelled() and not isinstance(task.exception(), ConnectionError | None):
        raise task.exception()  # type: ignore[misc]
