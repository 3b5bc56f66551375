"""How much of a photo may ride in the next packet, so that it never delays the face.

The photo gets what the face leaves of the link. Until the link shows its limit (a queue), the rate grows with every
report; then it stays below. What one packet carries is bounded by the time that it takes on the link. Pure: time is an
argument, s.
"""

from __future__ import annotations

from transport.blocks import BLOCK
from transport.feedback import LinkState

START_KBPS = 4.8
"""Of photos beside a face: about one block in each packet."""

OPENING_KBPS = 24.0
"""Of photos when there is no face yet that they could delay."""

FLOOR_KBPS = 0.6
MAX_KBPS = 400.0
TRANSIT = 0.034
"""Seconds that a packet's part of a photo may take on the link beside a face, and without one."""

OPENING_TRANSIT = 0.25
QUEUE = 0.045
"""Seconds of queueing beside a face from which on the photo yields; it takes itself ``TRANSIT`` of them."""

OPENING_QUEUE = 0.2
_FACE_MEMORY = 0.6
_LIMIT_MEMORY = 20.0


class PhotoPacer:
    """``allowance`` says how many blocks may ride now, ``spent`` that they did, ``update`` what the link did."""

    def __init__(self) -> None:
        self.kbps = OPENING_KBPS
        self.limit_kbps: float | None = None
        self._limit_at = float("-inf")
        self._capacity: float | None = None
        self._face_at = float("-inf")
        self._tokens = 0.0
        self._filled: float | None = None
        self._held_until = float("-inf")
        self._used = False
        self._opening = True

    def face(self, now: float) -> None:
        """A parameter message leaves."""
        if now - self._face_at > _FACE_MEMORY and self._opening:
            self.kbps = min(self.kbps, START_KBPS) if self.limit_kbps is None else START_KBPS
            self._opening = False
        self._face_at = now

    def beside_face(self, now: float) -> bool:
        return now - self._face_at < _FACE_MEMORY

    def allowance(self, now: float) -> int:
        """Blocks that may ride in a packet that leaves now."""
        self._fill(now)
        return max(0, min(int(self._tokens // BLOCK), self._blocks(now)))

    def next_at(self, now: float) -> float:
        """When there will be an allowance, s."""
        self._fill(now)
        want = min(self._blocks(now), 8) if not self.beside_face(now) else 1
        return now + max(0.0, (want * BLOCK - self._tokens) / (self.kbps * 125))

    def spent(self, octets: int) -> None:
        self._tokens -= octets
        self._used = True

    def update(self, state: LinkState) -> None:
        """A report came."""
        now = state.time
        beside = self.beside_face(now)
        if not beside:
            self._opening = True
        if self.limit_kbps is not None and now - self._limit_at > _LIMIT_MEMORY:
            self.limit_kbps = self._capacity = None
        if state.queueing > (QUEUE if beside else OPENING_QUEUE):
            if state.delivered_kbps > 0:
                self._capacity = state.delivered_kbps
            if now >= self._held_until:
                self.limit_kbps, self._limit_at = self.kbps, now
                self.kbps = max(FLOOR_KBPS, 0.6 * self.kbps)
                self._held_until = now + 0.5
        elif self._used and now >= self._held_until and state.queueing < 0.6 * (QUEUE if beside else OPENING_QUEUE):
            if self.limit_kbps is None:
                self.kbps = min(MAX_KBPS, self.kbps * (1.5 if beside else 2.0))
            else:
                self.kbps = min(self.kbps + 0.06 * self.limit_kbps, 0.9 * self.limit_kbps)
        self._used = False

    def _blocks(self, now: float) -> int:
        beside = self.beside_face(now)
        rate = self._capacity or (self.kbps + 6.0)
        room = rate * 125 * (TRANSIT if beside else OPENING_TRANSIT)
        return max(1, min(int(room // BLOCK), 28))

    def _fill(self, now: float) -> None:
        if self._filled is not None:
            most = max(1, self._blocks(now)) * BLOCK * 1.5
            self._tokens = min(most, self._tokens + (now - self._filled) * self.kbps * 125)
        self._filled = now
