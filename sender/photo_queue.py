"""Messages of the photos' channel on their way to whoever is there: one after the other, never in the face's way.

They wait here, not in the transport, so that few bytes are under way when a receiver goes: the next one gets its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from codec.errors import TransportError
from codec.photo import begins_photo
from transport.peer_base import PeerBase

logger = logging.getLogger(__name__)

FACE_FIRST_S = 2.5
"""How long the better photo waits for the face to begin."""

_LOOK_S = 0.01


class PhotoQueue:
    """First in, first out. Everything on the event loop. ``sent_bytes``: of all messages, so far.

    changed: told when a photo begins to travel and when none does any more (``travels``).
    """

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self.sent_bytes = 0
        self._changed = changed
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._peer: PeerBase | None = None
        self._sending = self._begun = self._face_moves = False

    def put(self, message: bytes) -> None:
        """A message to send to the receiver of now."""
        self._waiting.put_nowait(message)

    def connected(self, peer: PeerBase) -> None:
        """A receiver is there: what waits, and what is put from now on, goes to it."""
        self._peer = peer
        self._begun = self._face_moves = False

    def disconnected(self) -> None:
        """It has gone: what waits was for it alone."""
        self._peer = None
        while not self._waiting.empty():
            self._waiting.get_nowait()

    def face_moves(self) -> None:
        """The receiver is sent frames."""
        self._face_moves = True

    @property
    def travels(self) -> bool:
        """A message is being handed over, or waits for that."""
        return self._sending or not self._waiting.empty()

    async def run(self) -> None:
        """Send, until cancelled."""
        while True:
            self._sending = False
            self._changed()
            message = await self._waiting.get()
            self._sending = True
            self._changed()
            peer = self._peer
            await self._let_face_begin(message)
            if peer is None or peer is not self._peer:
                continue
            try:
                await peer.send_photo_message(message)
                self.sent_bytes += len(message)
            except TransportError as error:
                logger.info("photo not sent: %s", error)

    async def _let_face_begin(self, message: bytes) -> None:
        """The better photo that follows the small one waits until the face has begun to move: it would be in its way."""
        if not begins_photo(message):
            return
        if self._begun:
            until = time.monotonic() + FACE_FIRST_S
            while not self._face_moves and time.monotonic() < until:
                await asyncio.sleep(_LOOK_S)
        self._begun = True
