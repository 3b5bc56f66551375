"""An end's photos: those that it sends and those that come, whichever carrier has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aiortc import RTCDataChannel
from aiortc.exceptions import InvalidStateError

from codec.errors import BitstreamError
from transport.connection import unacknowledged
from transport.photo_lanes import ChannelPhotos
from transport.photos import Inbox, Outbox, Transfer


class PeerPhotos:
    """``outbox``: what is to be sent. ``on_wake``: of the carrier that takes it, told when there is more."""

    def __init__(self, inbox: Inbox | None, came: Callable[[bytes, float], None]) -> None:
        """inbox: of the connection before, or None. came: told each whole photo and when it came, monotonic time, s."""
        self.outbox = Outbox()
        self.on_wake: Callable[[], None] = lambda: None
        self._inbox = inbox or Inbox()
        self._came = came
        self._known = self._inbox.restart()

    @property
    def offer(self) -> list[list[str | int]]:
        """What the other end is told to be here already: names and bytes."""
        return [[key.hex(), size] for key, size in self._known.items()]

    def known_there(self, partial: Mapping[bytes, int]) -> None:
        """What the other end has told so, before anything is sent."""
        self.outbox = Outbox(partial)

    @property
    def travels(self) -> bool:
        """Something is to be sent or to be acknowledged."""
        return self.outbox.busy

    def send(self, data: bytes) -> Transfer:
        """Raises ValueError for nothing and for too much."""
        transfer = self.outbox.send(data)
        self.on_wake()
        return transfer

    async def over(self, channel: RTCDataChannel) -> None:
        """Send over a data channel of their own, until cancelled or it is closed."""

        def send(message: bytes) -> None:
            try:
                channel.send(message)
            except InvalidStateError as error:
                raise ConnectionError from error

        lane = ChannelPhotos(self.outbox, send, lambda: unacknowledged(channel))
        self.on_wake = lane.wake
        await lane.run()

    def take(self, data: bytes) -> None:
        """More of the other end's stream. Raises BitstreamError."""
        arrival = time.monotonic()
        for photo in self._inbox.feed(data):
            self._came(photo, arrival)

    def take_message(self, data: bytes | str) -> None:
        """The same from a data channel. Raises BitstreamError."""
        if isinstance(data, str):
            raise BitstreamError("text where bytes were expected")
        self.take(data)
