"""SCTP for small messages that are urgent and never repeated: fewer acknowledgements, and no waiting behind a photo.

All of it is set on one association; what is on the wire stays SCTP as any other end understands it.

- Acknowledgements: aiortc answers every packet with 85 bytes. RFC 9260 section 6.2 lets a receiver delay this by up to
  500 ms (MUST), and asks for one per second packet, within 200 ms (SHOULD). Parameters are never sent again, so nobody
  waits for theirs: they get one every ``LAZY`` seconds. While photos or control messages come in, gaps must be reported
  sooner, or a lost one is noticed late: packets with such data are acknowledged at once, others within ``EAGER``.
- Company: an acknowledgement that is due rides in the packet of whatever data leave (section 6.10), 16 bytes in place of 85.
  An end that sends parameters all the time so waits ``COMPANY`` for one of them, even where it would answer at once.
- Window: after a time-out SCTP allows one packet in flight, so a lost photo would stop the face for a second. The
  window keeps a floor. What is in flight is bounded elsewhere: photos by ``photo_flight``, parameters by the rate.
- Retransmission time: aiortc measures round trips on packets that wait for an earlier, lost one, and arrives at tens
  of seconds. It is kept within ``RETRANSMISSION``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, DataChunk, SackChunk

from transport.sctp_link import SctpLink

LAZY = 0.48
EAGER = 0.06
COMPANY = 0.19
RELIABLE_MEMORY = 2.0
"""Seconds after reliable data in which more of it is expected."""

WINDOW_FLOOR = 8 * 1024
RETRANSMISSION = (1.0, 2.5)
"""Shortest (also the initial one, as RFC 9260 section 16 has it; aiortc begins with 3 s) and longest, s."""


class _Bundle(Chunk):
    """Two chunks in one packet; the first is told of as the chunk."""

    def __init__(self, first: Chunk, second: Chunk) -> None:
        self.type, self.flags = first.type, first.flags
        self._bytes = bytes(first) + bytes(second)

    def __bytes__(self) -> bytes:
        return self._bytes


class SctpTuning:
    """Attach to an association before it starts; ``cancel`` when the connection closes. ``link``: what the acknowledgements
    of the lazy stream say of the way there."""

    def __init__(self, sctp: RTCSctpTransport, lazy_stream: int) -> None:
        """lazy_stream: of the data that is never sent again."""
        self.link = SctpLink(LAZY)
        self._sctp = sctp
        self._send_chunk_now = sctp._send_chunk
        self._lazy_stream = lazy_stream
        self._send_sack_now = sctp._send_sack
        self._receive_data = sctp._receive_data_chunk
        self._receive_sack = sctp._receive_sack_chunk
        self._time_out = sctp._t3_expired
        self._measure = sctp._update_rto
        self._urgent = False
        self._beside: DataChunk | None = None
        self._talked_at = self._reliable_at = float("-inf")
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        sctp._rto = RETRANSMISSION[0]
        sctp._cwnd = WINDOW_FLOOR
        sctp._send_chunk = self._send_chunk  # type: ignore[method-assign]
        sctp._send_sack = self._send_sack  # type: ignore[method-assign]
        sctp._receive_data_chunk = self._receive_data_chunk  # type: ignore[method-assign]
        sctp._receive_sack_chunk = self._receive_sack_chunk  # type: ignore[method-assign]
        sctp._t3_expired = self._t3_expired  # type: ignore[method-assign]
        sctp._update_rto = self._update_rto  # type: ignore[method-assign]

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        if chunk.stream_id != self._lazy_stream:
            self._urgent = True
            self._reliable_at = time.monotonic()
        await self._receive_data(chunk)

    async def _send_sack(self) -> None:
        now = time.monotonic()
        if self._urgent and now - self._talked_at > COMPANY:
            self._urgent = False
            self.cancel()
            await self._send_sack_now()
        elif self._urgent:
            self._urgent = False
            self.cancel()
            self._timer = asyncio.get_running_loop().call_later(COMPANY, self._due)
        elif self._timer is None:
            expecting = now - self._reliable_at < RELIABLE_MEMORY
            delay = EAGER if expecting and self._sctp._sack_misordered else LAZY
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._sctp._sack_needed and self._sctp.state == "connected":
            self._sending = asyncio.ensure_future(self._send_due())

    async def _send_due(self) -> None:
        with suppress(ConnectionError):
            await self._send_sack_now()

    async def _send_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, DataChunk) and chunk.stream_id == self._lazy_stream and chunk._sent_count == 1:
            self._talked_at = time.monotonic()
            self.link.sent(chunk.tsn, len(chunk.user_data), self._talked_at)
        if isinstance(chunk, DataChunk) and self._sctp._sack_needed and self._sctp.state == "connected":
            self.cancel()
            self._beside = chunk
            await self._send_sack_now()
            return
        if isinstance(chunk, SackChunk) and self._beside is not None:
            chunk, self._beside = _Bundle(chunk, self._beside), None
        await self._send_chunk_now(chunk)

    async def _receive_sack_chunk(self, chunk: SackChunk) -> None:
        self.link.acknowledged(chunk.cumulative_tsn, chunk.gaps, time.monotonic())
        await self._receive_sack(chunk)
        self._keep_floor()

    def _t3_expired(self) -> None:
        self._time_out()
        self._keep_floor()

    def _keep_floor(self) -> None:
        self._sctp._cwnd = max(self._sctp._cwnd, WINDOW_FLOOR)

    def _update_rto(self, R: float) -> None:
        self._measure(R)
        shortest, longest = RETRANSMISSION
        self._sctp._rto = min(max(self._sctp._rto, shortest), longest)
