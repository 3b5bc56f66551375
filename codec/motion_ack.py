"""Which motion packets the receiver has decoded: eight bytes that say it of the last 49 frames, and may get lost."""

from __future__ import annotations

from codec.errors import BitstreamError
from codec.motion import SEQUENCES, distance

SPAN = 48
"""Frames before the newest one that an acknowledgement speaks of."""

SIZE = 8


class MotionReceipts:
    """The receiver's half: fed with the frame number of each decoded packet."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._mask = 0

    def add(self, sequence: int) -> bytes:
        """A packet was decoded -> the acknowledgement of all that have been.

        u16 number of the newest frame; 48 bits, the most significant one for the frame before it, and so on.
        """
        ahead = 0 if self._newest is None else distance(sequence, self._newest)
        if self._newest is None or not -SEQUENCES // 4 < ahead <= SPAN:
            self._newest, self._mask = sequence, 0
        elif ahead > 0:
            self._mask = (self._mask >> ahead) | (1 << (SPAN - ahead))
            self._newest = sequence
        elif -SPAN <= ahead < 0:
            self._mask |= 1 << (SPAN + ahead)
        return self._newest.to_bytes(2, "big") + self._mask.to_bytes(SPAN // 8, "big")


def acknowledged(data: bytes) -> list[int]:
    """The frame numbers that an acknowledgement names, oldest first. Raises BitstreamError for bytes that are none."""
    if len(data) != SIZE:
        raise BitstreamError(f"acknowledgement of motion packets of {len(data)} bytes, expected {SIZE}")
    newest, mask = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
    back = [i for i in range(SPAN, 0, -1) if mask >> (SPAN - i) & 1]
    return [(newest - i) % SEQUENCES for i in back] + [newest]
