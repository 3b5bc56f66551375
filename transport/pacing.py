"""How much of a photo may ride in the next packet, so that it never delays the face.

The photo gets what the face leaves of the link. How much that is, the longer packets show themselves: so many bytes more
took so much longer, so the link carries at least that (``LinkState.floor_kbps``). What one packet carries is bounded by the
time that it takes on the link, behind all that was sent before it: of that the sender keeps account, so that a photo waits
when something else has filled the link for a moment. A queue all the same makes it yield. Pure: time is an argument, s.
"""

from __future__ import annotations

from collections import deque

from transport.blocks import BLOCK
from transport.feedback import LinkState

START_KBPS = 1.5
"""Of photos beside a face until the link is known: a block now and then."""

OPENING_KBPS = 24.0
"""Of photos when there is no face yet that they could delay."""

FLOOR_KBPS = 0.6
MAX_KBPS = 400.0
SHARE = 0.88
"""Of what the link carries that face and photo may take."""

GROWTH = 2.5
"""Most by which the rate grows from one report to the next."""

LEAST_KBPS = 8.0
"""What a link is believed to carry as long as no queue was seen."""

GUESS = 1.25
"""The same, in units of what the face takes of it."""

TRANSIT = 0.034
"""Seconds that a packet's part of a photo may take on the link beside a face, and without one."""

OPENING_TRANSIT = 0.25
QUEUE = 0.045
"""Seconds of queueing beside a face from which on the photo yields; it takes itself ``TRANSIT`` of them."""

CLEAN = 0.011
"""Seconds of queueing below which the link may carry more than it has shown."""

OPENING_QUEUE = 0.2
OPENING_SHARE = 0.82
"""Of what gets through that is the photo's own, the rest being headers."""

_FACE_MEMORY = 0.6
_CHUNK_HEADER = 6
_KNOWN_FOR = 4.0
_MOST_BLOCKS = 28
_OPENING_BLOCKS = 12
_VEHICLE = 60
"""Bytes of a packet that carries nothing but a part of a photo, besides that."""

_LITTLE = 6.0
"""Bytes before a packet that do not keep a first block out of it."""


class PhotoPacer:
    """``allowance`` says how many blocks may ride now, ``spent`` that they did, ``update`` what the link did."""

    def __init__(self) -> None:
        self.kbps = OPENING_KBPS
        self._floors: deque[tuple[float, float]] = deque()
        self._delivered: deque[float] = deque(maxlen=3)
        self._face_at = float("-inf")
        self._face_kbps = 0.0
        self._face_gap = 0.04
        self._beside = False
        self._tokens = float(_OPENING_BLOCKS * BLOCK)
        self._filled: float | None = None
        self._held_until = float("-inf")
        self._limited = False
        self._limited_at = float("-inf")
        self._octets = 0
        self._updated: float | None = None
        self._backlog = 0.0
        self._drained = float("-inf")

    def face(self, now: float) -> None:
        """A parameter message leaves."""
        self._face_gap += 0.2 * (min(now - self._face_at, _FACE_MEMORY) - self._face_gap)
        self._face_at = now
        if not self._beside:
            self._beside = True
            self.kbps = START_KBPS

    def sent(self, octets: int, now: float) -> None:
        """A datagram of so many bytes has left, whatever it carried."""
        self._backlog = self._behind(now) + octets
        self._drained = now

    def allowance(self, now: float) -> int:
        """Blocks that may ride in a packet that leaves now."""
        self._fill(now)
        return max(0, min(int(self._tokens // BLOCK), self._blocks(self._behind(now))))

    @property
    def beside(self) -> bool:
        """There is a face that must not be delayed."""
        return self._beside

    def vehicle_at(self, now: float) -> float:
        """When a packet with a part of a photo alone may leave, s: beside a face in the gaps that it leaves."""
        self._fill(now)
        if self._beside and now - self._face_at > _FACE_MEMORY:
            self._leave_face()
        want = 1 if self._beside else min(self._blocks(), _OPENING_BLOCKS)
        at = now + max(0.0, (want * BLOCK - self._tokens) / (self.kbps * 125))
        if not self._beside:
            return at
        speed = 125 * self._capacity()
        at = max(at, now + (self._behind(now) - _LITTLE) / speed)
        next_face = self._face_at + self._face_gap
        if at + (_VEHICLE + BLOCK) / speed <= next_face or at > next_face + 0.5 * self._face_gap:
            return at
        return next_face + 0.5 * self._face_gap + 0.001

    def spent(self, octets: int) -> None:
        self._tokens -= octets
        self._octets += octets + _CHUNK_HEADER

    def update(self, state: LinkState) -> None:
        """A report came."""
        now = state.time
        if self._beside and now - self._face_at > _FACE_MEMORY:
            self._leave_face()
        used, self._octets = self._octets, 0
        apart = now - self._updated if self._updated is not None else 0.0
        self._updated = now
        self._delivered.append(state.delivered_kbps)
        if apart > 0:
            face = max(0.0, state.sent_kbps - used * 0.008 / apart)
            self._face_kbps += 0.4 * (face - self._face_kbps) if self._face_kbps else face
        while self._floors and now - self._floors[0][0] > _KNOWN_FOR:
            self._floors.popleft()
        limit = QUEUE if self._beside else OPENING_QUEUE
        if state.queueing > limit:
            if now >= self._held_until:
                slower = 0.6 * self.kbps if self._beside else OPENING_SHARE * self._best_delivered()
                self.kbps = max(FLOOR_KBPS, slower)
                self._floors.clear()
                if state.delivered_kbps > 0:
                    self._floors.append((now, self._best_delivered()))
                self._held_until = now + 0.5
                self._limited, self._limited_at = True, now
            return
        self._floors.append((now, max(state.floor_kbps, state.delivered_kbps)))
        if now - self._limited_at > _KNOWN_FOR:
            self._limited = False
        if not used or now < self._held_until:
            return
        if not self._beside:
            if state.queueing < 0.25 * limit and state.delivered_kbps > 0.8 * state.sent_kbps:
                self.kbps = min(MAX_KBPS, (1.1 if self._limited else 2.0) * self.kbps)
        elif self._floors:
            free = SHARE * self._capacity() - self._face_kbps
            if state.queueing < CLEAN:
                free = max(free, 1.08 * self.kbps)
            self.kbps = min(MAX_KBPS, max(FLOOR_KBPS, min(free, GROWTH * self.kbps)))

    def _best_delivered(self) -> float:
        """What gets through a full link, kbps: reports end within a packet, so the best of the newest counts."""
        return max(self._delivered, default=0.0)

    def _capacity(self) -> float:
        """What the link is known to carry, kbps, or guessed to before it showed."""
        known = max((kbps for _, kbps in self._floors), default=0.0)
        guess = max(LEAST_KBPS, GUESS * self._face_kbps + self.kbps)
        return known if self._limited and self._floors else max(known, guess)

    def _leave_face(self) -> None:
        self._beside = False
        self._face_kbps = 0.0
        if not self._limited:
            self.kbps = max(self.kbps, OPENING_KBPS)

    def _behind(self, now: float) -> float:
        """Bytes that the link has not carried yet, by what it is known to carry."""
        return max(0.0, self._backlog - (now - self._drained) * 125 * self._capacity()) if self._backlog else 0.0

    def _blocks(self, behind: float = 0.0) -> int:
        room = self._capacity() * 125 * (TRANSIT if self._beside else OPENING_TRANSIT)
        if not self._beside:
            return max(1, min(int(room // BLOCK), _MOST_BLOCKS))
        if behind < _LITTLE:
            return max(1, min(int((room - behind) // BLOCK), _MOST_BLOCKS))
        return max(0, min(int((room - behind) // BLOCK), _MOST_BLOCKS))

    def _fill(self, now: float) -> None:
        if self._filled is not None:
            most = max(1, self._blocks()) * BLOCK * 1.5
            self._tokens = min(most, self._tokens + (now - self._filled) * self.kbps * 125)
        self._filled = now
