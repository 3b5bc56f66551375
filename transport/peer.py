"""The two ends of a call: channels, hello, keepalive, clock and voice over one WebRTC connection.

    peer = await SenderPeer.connect(signalling, hello={...}, handlers=Handlers(control=...), audio_track=track)
    peer.send_parameters(packet)

The versions and the hellos of both ends travel with the session descriptions: they cost nothing on the wire, and ends
that do not fit part before a connection is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from aiortc import MediaStreamTrack
from aiortc.exceptions import InvalidStateError

from codec.errors import BitstreamError, TransportError
from transport import control
from transport.clock import PeerClock
from transport.connection import Connection, IceOptions, in_flight
from transport.keepalive import Keepalive, KeepaliveOptions
from transport.link import Link, LinkSpec
from transport.metering import Meter
from transport.signalling import OTHER, PROTOCOL_VERSION, Description, PeerLeft, Role, Signalling
from transport.statistics import WireFigures, wire_figures
from transport.voice_receiver import AudioChunk, VoiceReceiver

logger = logging.getLogger(__name__)

MAX_PARAMETERS = 1100
"""Longest message on the parameters channel, bytes: it must fit one datagram."""

MAX_PHOTO_MESSAGE = 32 * 1024
MAX_INVALID = 16
"""Messages that are none, after which a peer is no longer listened to."""

PASTE_SECONDS = 900.0
"""How long an end waits for people to carry its answer to the other end."""


def _ignore(*_: Any) -> None:
    """Takes what nobody asked for."""


@dataclass(frozen=True)
class Handlers:
    """What is called, on the event loop, with what arrives. arrival: monotonic time, s. Each must return at once.

    parameters(data, arrival), photo(data, arrival): messages, in order of arrival. control(message): a checked control
    message of the kinds that are not the transport's own. audio(chunk): decoded voice, in order.
    gone(reason): the peer is gone, once, with a sentence.
    """

    parameters: Callable[[bytes, float], None] = _ignore
    photo: Callable[[bytes, float], None] = _ignore
    control: Callable[[control.Control], None] = _ignore
    audio: Callable[[AudioChunk], None] = _ignore
    gone: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class PeerOptions:
    """link: spoils what this end sends; None for the network as it is. setup_seconds: from the peer's arrival to open
    channels. photo_flight: bytes that may be under way, unacknowledged, when a further photo message is sent.
    version: of the protocol; other than ours only in tests.
    """

    ice: IceOptions = field(default_factory=IceOptions)
    link: LinkSpec | None = None
    keepalive: KeepaliveOptions = field(default_factory=KeepaliveOptions)
    setup_seconds: float = 20.0
    photo_flight: int = 1200
    version: int = PROTOCOL_VERSION


class _Peer:
    """What both ends share. ``hello`` is the other end's; ``meter`` and ``clock`` are public; ``ended``: the other end
    said goodbye. ``photo_flight`` may be changed during the call: 0 lets one photo message at a time under way."""

    role: Role

    def __init__(self, options: PeerOptions, handlers: Handlers) -> None:
        link = Link(options.link, self.role) if options.link is not None else None
        self.meter = Meter(link)
        self.hello: dict[str, Any] = {}
        self.gone_reason: str | None = None
        self.ended = False
        self.photo_flight = options.photo_flight
        self.invalid_messages = 0
        self.setup_seconds = 0.0
        self._options = options
        self._handlers = handlers
        self._connection = Connection(options.ice, self.meter)
        self._tasks: list[asyncio.Task[None]] = []
        keepalive = options.keepalive if self.role == "receiver" else replace(options.keepalive, clock_seconds=None)
        self._keepalive = Keepalive(keepalive, self.meter, self._send_ping, self._gone)
        self._voice = VoiceReceiver(self._on_audio, time.monotonic)
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._photo_turn = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        signalling: Signalling,
        hello: dict[str, Any] | None = None,
        *,
        handlers: Handlers | None = None,
        options: PeerOptions | None = None,
        audio_track: MediaStreamTrack | None = None,
    ) -> Self:
        """Wait for the other end, without limit (one that leaves during set-up was not there), and connect to it.

        hello: plain JSON data that the other end gets. Raises TransportError when the other end refused, is of another
        version or cannot be reached, and when signalling failed; BitstreamError when it sent garbage. The same
        signalling may connect again, to the next peer in the room; an audio track serves one connection.
        """
        while True:
            await signalling.wait_for_peer()
            peer = cls(options or PeerOptions(), handlers or Handlers())
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
        began = time.monotonic()
        limit = self._options.setup_seconds
        signalling.on_left = self._on_left
        try:
            async with asyncio.timeout(None if signalling.by_hand else limit):
                ours = Description("offer", version=self._options.version, hello=hello)
                theirs = await self._negotiate(signalling, ours, audio)
            self._listen()
            async with asyncio.timeout(PASTE_SECONDS if signalling.by_hand else limit):
                await self._connection.opened()
        except TimeoutError as error:
            raise TransportError(
                f"no connection to the {OTHER[self.role]} within {limit:g} s; "
                "a firewall may be in between, or the link is too bad"
            ) from error
        self.setup_seconds = time.monotonic() - began
        self.hello = theirs.hello
        self.meter.connected()
        self._tasks.append(asyncio.create_task(self._keepalive.run()))

    def send_parameters(self, data: bytes) -> None:
        """At once, unordered, never again. Nothing happens when the peer is gone. Raises ValueError when too long."""
        if len(data) > MAX_PARAMETERS:
            raise ValueError(f"a parameters message has at most {MAX_PARAMETERS} bytes, not {len(data)}")
        with suppress(InvalidStateError):
            self._connection.parameters.send(data)

    async def send_photo_message(self, data: bytes) -> None:
        """Reliably and in order, as soon as what was sent before is nearly all acknowledged, so that parameters never
        queue behind photos: cut photos into messages of about 1 kB. Raises TransportError when the peer is gone."""
        if len(data) > MAX_PHOTO_MESSAGE:
            raise ValueError(f"a photo message has at most {MAX_PHOTO_MESSAGE} bytes, not {len(data)}")
        connection = self._connection
        async with self._photo_turn:
            while in_flight([connection.photos]) > self.photo_flight and self.alive:
                await asyncio.sleep(0.005)
            try:
                connection.photos.send(data)
            except InvalidStateError as error:
                raise TransportError(self.gone_reason or "the call has ended") from error

    def send_control(self, message: control.Control) -> None:
        """Reliably and in order. Nothing happens when the peer is gone. Raises ValueError for a message whose kind and
        fields are not as ``transport.control.define`` says."""
        with suppress(InvalidStateError):
            self._connection.control.send(control.pack(message))

    @property
    def clock(self) -> PeerClock:
        """The peer's clock as seen from here; the receiver pings for it, the sender does not."""
        return self._keepalive.clock

    @property
    def alive(self) -> bool:
        return not self._closed and self.gone_reason is None and self._connection.parameters.readyState == "open"

    def wire(self) -> WireFigures:
        """The wire figures so far, as counted at this end."""
        return wire_figures(self.meter, self.role)

    async def close(self, reason: str = "the other side ended the call") -> None:
        """Tell the peer and free everything, within a second. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.gone_reason is None and self.meter.start is not None:
            self.send_control({"kind": "bye", "reason": reason[:200]})
            await asyncio.sleep(0.01)
        self.meter.finished()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._connection.close(), 1.0)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _negotiate(
        self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None
    ) -> Description:
        raise NotImplementedError

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
        connection.photos.on("message", self._forward(lambda: self._handlers.photo))
        connection.parameters.on("message", self._forward(lambda: self._handlers.parameters))
        connection.parameters.on("close", lambda: self._gone("the other side ended the call"))
        connection.pc.on("connectionstatechange", self._on_state)

    def _on_left(self) -> None:
        """Signalling saw the other end leave: proof of nothing in a call, enough to give up a set-up."""
        if self.meter.start is None:
            self._connection.abandon(PeerLeft(f"the {OTHER[self.role]} left while the call was being set up"))
        elif self.alive:
            self._keepalive.peer_left_signalling()

    def _forward(self, handler: Callable[[], Callable[[bytes, float], None]]) -> Callable[[bytes | str], None]:
        def received(data: bytes | str) -> None:
            if isinstance(data, str):
                self._count_invalid("text where bytes were expected")
            else:
                self._loop.call_soon(handler(), data, time.monotonic())

        return received

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
            self._loop.call_soon(self._handlers.gone, reason)

    def _send_ping(self, number: int) -> None:
        self.send_control({"kind": "ping", "id": number})

    def _on_audio(self, chunk: AudioChunk) -> None:
        self._loop.call_soon(self._handlers.audio, chunk)


class SenderPeer(_Peer):
    """The end with the camera: it makes the offer."""

    role: Role = "sender"

    async def _negotiate(
        self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None
    ) -> Description:
        self._connection.on_first_audio = self._send_audio_base
        await signalling.send(replace(ours, kind="offer", sdp=await self._connection.offer(audio)))
        answer = await signalling.receive()
        await self._check_version(signalling, answer)
        await self._connection.accept(answer)
        return answer

    def _send_audio_base(self, timestamp: int, spoken: float) -> None:
        self.send_control({"kind": "audio", "timestamp": timestamp, "time": spoken})


class ReceiverPeer(_Peer):
    """The end with the screen: it answers."""

    role: Role = "receiver"

    async def _negotiate(
        self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None
    ) -> Description:
        offer = await signalling.receive()
        await self._check_version(signalling, offer)
        self._connection.on_audio = self._voice.tap
        await signalling.send(replace(ours, kind="answer", sdp=await self._connection.answer(offer)))
        return offer
