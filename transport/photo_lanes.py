"""The ways of a photo's pieces: as chunks in packets that have room, or as small messages on a reliable channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from transport.blocks import BLOCK, HEADER, BlockSender
from transport.feedback import LinkState
from transport.pacing import PhotoPacer
from transport.photos import Outbox

_BACKLOG, _BESIDE = 30 * BLOCK, 6 * BLOCK
"""Bytes that are cut into blocks before they are due, without a face and beside one: what a cancelled photo still sends at most."""


class OpusPhotos:
    """Chunks for the carrier's packets, no more than the pacer allows."""

    def __init__(self, outbox: Outbox) -> None:
        self.pacer = PhotoPacer()
        self._outbox = outbox
        self._blocks = BlockSender()

    def ready_at(self, now: float) -> float | None:
        self._fill(now)
        if self._blocks.ready(now):
            return self.pacer.vehicle_at(now)
        return self._blocks.next_due() if self._blocks.waiting else None

    def chunk(self, now: float, packet: int, room: int) -> bytes | None:
        if not (self._outbox.busy or self._blocks.waiting):
            return None
        self._fill(now)
        allowed = min(self.pacer.allowance(now), (room - HEADER) // BLOCK)
        chunk = self._blocks.take(allowed, packet, now) if allowed > 0 else None
        if chunk is not None:
            self.pacer.spent(len(chunk) - HEADER)
        return chunk

    def acknowledge(self, first_missing: int, bitmap: bytes, newest_packet: int, now: float) -> None:
        self._blocks.acknowledge(first_missing, bitmap, newest_packet, now)
        self._outbox.settle(self._blocks.acknowledged)

    def update(self, state: LinkState) -> None:
        self.pacer.update(state)

    def _fill(self, now: float) -> None:
        backlog = _BESIDE if self.pacer.beside else _BACKLOG
        while self._blocks.unsent < backlog and self._blocks.room > 10 * BLOCK:
            piece = self._outbox.take()
            if piece is None:
                return
            self._blocks.append(piece)


class ChannelPhotos:
    """Pieces as messages of a data channel, one after the other: the next leaves when the one before is acknowledged.

    A parameter message waits for one of them at most; how many pieces one message joins follows from how long its
    acknowledgement takes."""

    def __init__(self, outbox: Outbox, send: Callable[[bytes], None], under_way: Callable[[], int]) -> None:
        """send: raises ConnectionError when the channel is closed. under_way: messages that are not acknowledged."""
        self._outbox = outbox
        self._send = send
        self._under_way = under_way
        self._wake = asyncio.Event()
        self._pieces = 1

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled or the channel is closed."""
        position = 0
        while True:
            pieces = [piece for piece in (self._outbox.take() for _ in range(self._pieces)) if piece is not None]
            if not pieces:
                self._wake.clear()
                await self._wake.wait()
                continue
            message = b"".join(pieces)
            began = time.monotonic()
            try:
                self._send(message)
            except ConnectionError:
                return
            while self._under_way():
                await asyncio.sleep(0.005)
            took = time.monotonic() - began
            self._pieces = min(5, self._pieces + 1) if took < 0.15 else max(1, self._pieces - 1)
            position += len(message)
            self._outbox.settle(position)
