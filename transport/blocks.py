"""A reliable stream in small blocks, for bytes that ride in other packets: a photo beside the face.

Blocks of ``BLOCK`` bytes are numbered modulo 2^16. A chunk is u16 number of its first block, then blocks one after the
other; all but the last of them are whole. The receiver tells which blocks it has; what is missing goes again, whatever
packet has room for it. Pure: time is an argument, s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from codec.errors import BitstreamError

BLOCK = 36
"""Bytes: 24 ms of a link of 12 kbps."""

HEADER = 2
WINDOW = 512
"""Blocks that may be under way."""

REORDERED = 3
"""Packets after a block's that must have come before it counts as lost."""


@dataclass
class _Sent:
    data: bytes
    packet: int = -1
    at: float = float("-inf")
    lost: bool = True


class BlockSender:
    """``append`` bytes, ``take`` chunks, ``acknowledge`` what came. ``acknowledged`` and ``appended`` count bytes."""

    def __init__(self) -> None:
        self.acknowledged = self.appended = 0
        self._blocks: OrderedDict[int, _Sent] = OrderedDict()
        self._next = 0
        self._first = 0
        self._round_trip = 0.3

    @property
    def waiting(self) -> int:
        """Bytes that were appended and not acknowledged."""
        return self.appended - self.acknowledged

    @property
    def unsent(self) -> int:
        """Bytes that were appended and never sent."""
        return sum(len(block.data) for block in reversed(self._blocks.values()) if block.packet < 0)

    @property
    def room(self) -> int:
        """Bytes that may be appended now."""
        return max(0, WINDOW - len(self._blocks)) * BLOCK

    def append(self, data: bytes) -> None:
        """More of the stream; a last block that is not full stays so."""
        self.appended += len(data)
        for at in range(0, len(data), BLOCK):
            self._blocks[self._next] = _Sent(data[at : at + BLOCK])
            self._next += 1

    def ready(self, now: float) -> bool:
        """A block waits to be sent, for the first time or again."""
        return any(self._is_due(block, now) for block in self._blocks.values())

    def next_due(self) -> float:
        """When the oldest block is to be sent again, if nothing is heard of it, s."""
        oldest = min((block.at for block in self._blocks.values()), default=float("inf"))
        return oldest + self._patience + 0.01

    def take(self, blocks: int, packet: int, now: float) -> bytes | None:
        """The next chunk, of at most so many blocks, for the packet of that (unwrapped) number; None: nothing waits."""
        first = next((n for n, block in self._blocks.items() if self._is_due(block, now)), None)
        if first is None:
            return None
        out = bytearray((first % 0x10000).to_bytes(HEADER, "big"))
        for number in range(first, first + blocks):
            block = self._blocks.get(number)
            if block is None or not self._is_due(block, now):
                break
            out += block.data
            block.packet, block.at, block.lost = packet, now, False
            if len(block.data) < BLOCK:
                break
        return bytes(out)

    def acknowledge(self, first_missing: int, bitmap: bytes, newest_packet: int, now: float) -> None:
        """The receiver has all blocks before first_missing, and those of the bitmap after it; newest_packet: the newest
        packet that it had got then."""
        first = self._first + (first_missing - self._first + 0x8000) % 0x10000 - 0x8000
        if not self._first <= first <= self._next:
            return
        have = set(range(self._first, first))
        last_known = first
        for place in range(8 * len(bitmap)):
            if bitmap[place // 8] >> (7 - place % 8) & 1:
                last_known = first + 1 + place
                have.add(last_known)
        self._first = first
        for number in have:
            block = self._blocks.pop(number, None)
            if block is not None:
                self.acknowledged += len(block.data)
                if block.packet >= 0:
                    self._round_trip += 0.2 * (now - block.at - self._round_trip)
        covered = first + 8 * len(bitmap)
        for number, block in self._blocks.items():
            if number > max(covered, last_known):
                break
            if 0 <= block.packet <= newest_packet - REORDERED:
                block.lost = True

    def _is_due(self, block: _Sent, now: float) -> bool:
        return block.lost or now - block.at > self._patience

    @property
    def _patience(self) -> float:
        return max(1.0, 3 * self._round_trip)


class BlockReceiver:
    """``add`` chunks, get the stream's bytes in order."""

    def __init__(self) -> None:
        self._first = 0
        self._ahead: dict[int, bytes] = {}

    def add(self, chunk: bytes) -> Iterator[bytes]:
        """What can be read on now. Raises BitstreamError for bytes that are no chunk of this stream."""
        if len(chunk) <= HEADER:
            raise BitstreamError("a chunk of a photo without a block")
        number = int.from_bytes(chunk[:HEADER], "big")
        number = self._first + (number - self._first + 0x8000) % 0x10000 - 0x8000
        for at in range(HEADER, len(chunk), BLOCK):
            if number >= self._first + 2 * WINDOW:
                raise BitstreamError("a chunk of a photo far beyond what is expected")
            if number >= self._first:
                self._ahead[number] = chunk[at : at + BLOCK]
            number += 1
        return self._in_order()

    def _in_order(self) -> Iterator[bytes]:
        while self._first in self._ahead:
            data = self._ahead.pop(self._first)
            self._first += 1
            yield data

    def state(self) -> tuple[int, bytes]:
        """First missing block and the bitmap of those after it, as short as it can be."""
        bits = 0
        last = max(self._ahead, default=self._first)
        count = min(last - self._first, 128)
        for place in range(count):
            bits = bits << 1 | (self._first + 1 + place in self._ahead)
        size = (count + 7) // 8
        return self._first % 0x10000, (bits << (8 * size - count)).to_bytes(size, "big") if size else b""
