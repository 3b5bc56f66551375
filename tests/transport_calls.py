"""Calls between two real peers, for the tests of transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiortc import MediaStreamTrack

from transport.connection import IceOptions
from transport.control import Control
from transport.keepalive import KeepaliveOptions
from transport.link import LinkSpec
from transport.peer import Handlers, PeerOptions, ReceiverPeer, SenderPeer
from transport.signalling import Role, WebSocketSignalling
from transport.signalling_server import SignallingServer
from transport.voice_receiver import AudioChunk

ROOM = "test"


def local(link: str = "", **options: Any) -> PeerOptions:
    """Options of a call inside this machine."""
    spec = LinkSpec.parse(link) if link else None
    keepalive = options.pop("keepalive", KeepaliveOptions(clock_seconds=None))
    return PeerOptions(ice=IceOptions(addresses=("127.0.0.1",)), link=spec, keepalive=keepalive, **options)


def join(server: SignallingServer, role: Role, **options: Any) -> WebSocketSignalling:
    return WebSocketSignalling(server.url, ROOM, role, **options)


@dataclass
class Seen:
    """What one end received."""

    on_parameters: Callable[[bytes], None] | None = None
    parameters: list[bytes] = field(default_factory=list)
    photos: list[bytes] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    audio: list[AudioChunk] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def handlers(self) -> Handlers:
        return Handlers(
            parameters=self._take_parameters,
            photo=lambda data, arrival: self.photos.append(data),
            control=self.controls.append,
            audio=self.audio.append,
            gone=self.gone.append,
        )

    def _take_parameters(self, data: bytes, arrival: float) -> None:
        self.parameters.append(data)
        if self.on_parameters is not None:
            self.on_parameters(data)


@dataclass
class Call:
    sender: SenderPeer
    receiver: ReceiverPeer
    at_sender: Seen
    at_receiver: Seen
    sender_signalling: WebSocketSignalling
    receiver_signalling: WebSocketSignalling
    server: SignallingServer


@asynccontextmanager
async def call(options: PeerOptions | None = None, audio: MediaStreamTrack | None = None) -> AsyncIterator[Call]:
    """A connected pair; everything is closed at the end."""
    options = options or local()
    async with SignallingServer(port=0) as server:
        one, two = join(server, "sender"), join(server, "receiver")
        at_sender, at_receiver = Seen(), Seen()
        sender, receiver = await asyncio.gather(
            SenderPeer.connect(one, {"end": 1}, handlers=at_sender.handlers(), options=options, audio_track=audio),
            ReceiverPeer.connect(two, {"end": 2}, handlers=at_receiver.handlers(), options=options),
        )
        try:
            yield Call(sender, receiver, at_sender, at_receiver, one, two, server)
        finally:
            await asyncio.gather(sender.close(), receiver.close())
            await asyncio.gather(one.close(), two.close())


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return when the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
