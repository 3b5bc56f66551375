"""What both ends of a call share: channels, hello, keepalive, clock and voice over one WebRTC connection.

The versions and the hellos of both ends travel with the session descriptions: they cost nothing on the wire, and ends
that do not fit part before a connection is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

from aiortc import MediaStreamTrack
from aiortc.exceptions import InvalidStateError

from codec.errors import BitstreamError, TransportError
from transport import control
from transport.carriers import DATA_CHANNEL, OPUS
from transport.clock import PeerClock
from transport.connection import Connection
from transport.feedback import MAX_KEYS
from transport.keepalive import Keepalive
from transport.link import Link
from transport.metering import Meter
from transport.peer_options import Handlers, PeerOptions
from transport.peer_photos import PeerPhotos
from transport.photos import MAX_PHOTO, Inbox, Transfer
from transport.signalling import OTHER, Description, PeerLeft, Role, Signalling
from transport.statistics import WireFigures, wire_figures
from transport.voice_receiver import AudioChunk, VoiceReceiver

logger = logging.getLogger(__name__)

MAX_PARAMETERS = 1100
"""Longest parameter message, bytes: it must fit one datagram."""

MOST_ECHO = 3
"""Messages that are kept to go out once more."""

MAX_INVALID = 16
"""Messages that are none, after which a peer is no longer listened to."""

HELLO = "transport"
"""Name of the transport's own part of the hello."""

PASTE_SECONDS = 900.0
"""How long an end waits for people to carry its answer to the other end."""


class PeerBase:
    """What both ends share. ``hello`` is the other end's; ``meter`` and ``clock`` are public; ``ended``: the other end
    said goodbye. ``carrier``: of the parameters, as agreed. ``met_at``: monotonic time at which the other end had
    come. ``setup_seconds``: from then to open channels;
    ``media_seconds``: from the agreement on a session to what ``Handlers.media`` tells: the link's part of it."""

    role: Role

    def __init__(self, options: PeerOptions, handlers: Handlers, inbox: Inbox | None = None) -> None:
        link = Link(options.link, self.role) if options.link is not None else None
        self.meter = Meter(link)
        self.hello: dict[str, Any] = {}
        self.gone_reason: str | None = None
        self.ended = False
        self.carrier = DATA_CHANNEL
        self.invalid_messages = 0
        self.met_at = self.setup_seconds = self.media_seconds = 0.0
        self._media_open = self._opened = False
        self._early: list[bytes] = []
        self._recent: deque[bytes] = deque(maxlen=MOST_ECHO)
        self._agreed_at = 0.0
        self._options = options
        self._handlers = handlers
        self._connection = Connection(options.ice, self.meter, options.short_tag)
        self._photos = PeerPhotos(inbox, self._on_photo)
        self._tasks: list[asyncio.Task[None]] = []
        keepalive = options.keepalive if self.role == "receiver" else replace(options.keepalive, clock_seconds=None)
        self._keepalive = Keepalive(keepalive, self.meter, self._send_ping, self._gone)
        self._voice = VoiceReceiver(self._on_audio, time.monotonic)
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(
        cls,
        signalling: Signalling,
        hello: dict[str, Any] | None = None,
        *,
        handlers: Handlers | None = None,
        options: PeerOptions | None = None,
        audio_track: MediaStreamTrack | None = None,
        inbox: Inbox | None = None,
    ) -> Self:
        """Wait for the other end, without limit (one that leaves during set-up was not there), and connect to it.

        hello: plain JSON data that the other end gets. Raises TransportError when the other end refused, is of another
        version or cannot be reached, and when signalling failed; BitstreamError when it sent garbage. The same
        signalling may connect again, to the next peer in the room; an audio track serves one connection. inbox: of the
        connection before, so that a photo that had come in part need not come again.
        """
        while True:
            await signalling.wait_for_peer()
            peer = cls(options or PeerOptions(), handlers or Handlers(), inbox)
            try:
                await peer._set_up(signalling, hello or {}, audio_track)
                return peer
            except PeerLeft as left:
                await peer.close()
                logger.info("%s", left)
            except BaseException:
                await peer.close()
                raise

    async def _set_up(self, signalling: Signalling, hello: dict[str, Any], audio: MediaStreamTrack | None) -> None:
        self.met_at = began = time.monotonic()
        limit = self._options.setup_seconds
        signalling.on_left = self._on_left
        try:
            async with asyncio.timeout(None if signalling.by_hand else limit):
                offered: dict[str, Any] = {"carriers": list(self._options.carriers)}
                if self._photos.offer:
                    offered["partial"] = self._photos.offer
                ours = Description("offer", version=self._options.version, hello={**hello, HELLO: offered})
                await self._negotiate(signalling, ours, audio)
            self._listen()
            async with asyncio.timeout(PASTE_SECONDS if signalling.by_hand else limit):
                await self._connection.opened()
        except TimeoutError as error:
            raise TransportError(
                f"no connection to the {OTHER[self.role]} within {limit:g} s; "
                "a firewall may be in between, or the link is too bad"
            ) from error
        self.setup_seconds = time.monotonic() - began
        self._opened = True
        for data in self._early:
            self._connection.control.send(data)
        self._tasks.append(asyncio.create_task(self._keepalive.run()))
        self._begin()
        self._begin_media()

    def send_parameters(self, data: bytes, echo: int = 0) -> int:
        """At once, unordered. Nothing happens when the peer is gone. Raises ValueError when too long.

        echo: of the messages before it, so many go with it in the same datagram once more, oldest first, where the carrier joins
        messages (``joins_messages``). Returns the bytes of all that goes.
        """
        if len(data) > MAX_PARAMETERS:
            raise ValueError(f"a parameters message has at most {MAX_PARAMETERS} bytes, not {len(data)}")
        before = list(self._recent)[-echo:] if echo and self.joins_messages else []
        self._recent.append(data)
        self._send_messages([*before, data])
        return sum(map(len, before)) + len(data)

    @property
    def joins_messages(self) -> bool:
        """Messages that are sent at once travel in one datagram."""
        return self.carrier == OPUS

    @property
    def photo_travels(self) -> bool:
        """Something of a photo is to be sent or to be acknowledged."""
        return self._photos.travels

    def send_photo(self, data: bytes) -> Transfer:
        """Reliably, in order, beside the parameters without delaying them. Raises ValueError when too long."""
        return self._photos.send(data)

    async def send_photo_message(self, data: bytes) -> None:
        """``send_photo``, as soon as what was sent before is nearly all on the way. Raises TransportError when the peer is
        gone."""
        if not 1 <= len(data) <= MAX_PHOTO:
            raise ValueError(f"a photo message has 1 to {MAX_PHOTO} bytes, not {len(data)}")
        while self._photos.outbox.waiting > self._options.photo_flight and self.alive:
            await asyncio.sleep(0.01)
        if not self.alive:
            raise TransportError(self.gone_reason or "the call has ended")
        self.send_photo(data)

    def send_control(self, message: control.Control) -> None:
        """Reliably and in order, once the channel is open. Nothing happens when the peer is gone. Raises ValueError for a
        message whose kind and fields are not as ``transport.control.define`` says."""
        data = control.pack(message)
        if not self._opened:
            self._early.append(data)
            return
        with suppress(InvalidStateError):
            self._connection.control.send(data)

    @property
    def clock(self) -> PeerClock:
        """The peer's clock as seen from here; the receiver pings for it, the sender does not."""
        return self._keepalive.clock

    @property
    def alive(self) -> bool:
        usable = self._connection.parameters.readyState == "open" or (self._media_open and not self._opened)
        return not self._closed and self.gone_reason is None and usable

    def wire(self) -> WireFigures:
        """The wire figures so far, as counted at this end."""
        return wire_figures(self.meter, self.role)

    async def close(self, reason: str = "the other side ended the call") -> None:
        """Tell the peer and free everything, within a second. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.gone_reason is None and self._opened:
            self.send_control({"kind": "bye", "reason": reason[:200]})
            await asyncio.sleep(0.01)
        self.meter.finished()
        self._photos.outbox.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._connection.close(), 1.0)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _negotiate(self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None) -> None:
        raise NotImplementedError

    def _agreed(self, theirs: Description) -> None:
        """Both ends know what they are to do; the link is used from now on."""
        self.hello = {name: value for name, value in theirs.hello.items() if name != HELLO}
        self._agreed_at = time.monotonic()
        if self.carrier == OPUS:
            self._connection.on_media = self._begin_media

    def _begin_media(self) -> None:
        if not self._media_open and not self._closed:
            self._media_open = True
            self.media_seconds = time.monotonic() - self._agreed_at
            self.meter.connected()
            self._handlers.media(self)

    def _begin(self) -> None:
        """The channels are open: photos go over theirs, unless the carrier takes them."""
        if self._takes_photos():
            return
        self._tasks.append(asyncio.create_task(self._photos.over(self._connection.photos)))

    def _takes_photos(self) -> bool:
        return False

    def _send_messages(self, messages: Sequence[bytes]) -> None:
        with suppress(InvalidStateError):
            for message in messages:
                self._connection.parameters.send(message)

    def _on_photo(self, photo: bytes, arrival: float) -> None:
        self._loop.call_soon(self._handlers.photo, photo, arrival)

    def _on_pieces(self, data: bytes | str) -> None:
        try:
            self._photos.take_message(data)
        except BitstreamError as error:
            self._count_invalid(str(error))

    def _take_parameters(self, data: bytes, arrival: float) -> None:
        self._loop.call_soon(self._handlers.parameters, data, arrival)

    async def _check_version(self, signalling: Signalling, theirs: Description) -> None:
        if theirs.kind == "refused":
            raise TransportError(f"the {OTHER[self.role]} refused: {theirs.reason}")
        mine = self._options.version
        if theirs.version != mine:
            same = "use the same Headwire on both ends"
            if self.role == "receiver":
                reason = f"it speaks version {mine} of the protocol, not {theirs.version}; {same}"
                await signalling.send(Description("refused", version=mine, reason=reason))
            raise TransportError(
                f"the {OTHER[self.role]} speaks version {theirs.version} of the protocol, not {mine}; {same}"
            )

    def _listen(self) -> None:
        connection = self._connection
        connection.control.on("message", self._on_control)
        connection.photos.on("message", self._on_pieces)
        connection.parameters.on("message", self._on_parameters)
        connection.parameters.on("close", lambda: self._gone("the other side ended the call"))
        connection.pc.on("connectionstatechange", self._on_state)

    def _on_left(self) -> None:
        """Signalling saw the other end leave: proof of nothing in a call, enough to give up a set-up."""
        if not self._opened:
            self._connection.abandon(PeerLeft(f"the {OTHER[self.role]} left while the call was being set up"))
        elif self.alive:
            self._keepalive.peer_left_signalling()

    def _on_parameters(self, data: bytes | str) -> None:
        if isinstance(data, str):
            self._count_invalid("text where bytes were expected")
        else:
            self._take_parameters(data, time.monotonic())

    def _on_state(self) -> None:
        if self._connection.pc.connectionState in ("failed", "closed"):
            self._gone("the connection to the other side was lost")

    def _on_control(self, data: bytes | str) -> None:
        try:
            message = control.parse(data)
        except BitstreamError as error:
            self._count_invalid(str(error))
            return
        match message["kind"]:
            case "ping":
                self.send_control({"kind": "pong", "id": message["id"], "time": time.monotonic()})
            case "pong":
                self._keepalive.answered(message["id"], message["time"])
            case "audio":
                self._voice.set_base(message["timestamp"], message["time"])
            case "keys":
                for key in message["keys"][:MAX_KEYS]:
                    if isinstance(key, bytes):
                        self._on_key(key)
            case "bye":
                self.ended = True
                self._gone(message["reason"])
            case _:
                self._loop.call_soon(self._handlers.control, message)

    def _count_invalid(self, what: str) -> None:
        self.invalid_messages += 1
        logger.warning("dropped: %s", what)
        if self.invalid_messages > MAX_INVALID:
            self._gone("the other side keeps sending messages that are not Headwire's")

    def _gone(self, reason: str) -> None:
        if self.gone_reason is None and not self._closed:
            self.gone_reason = reason
            self.meter.finished()
            self._photos.outbox.close()
            self._loop.call_soon(self._handlers.gone, reason)

    def _send_ping(self, number: int) -> None:
        self.send_control({"kind": "ping", "id": number})

    def _on_key(self, data: bytes) -> None:
        self._loop.call_soon(self._handlers.key_ack, data)

    def _on_audio(self, chunk: AudioChunk) -> None:
        self._loop.call_soon(self._handlers.audio, chunk)
