"""How parameter messages travel: over a data channel of their own, or in the padding of the voice's Opus packets.

Both ends say in their hello which carriers they have; the first of the sender's that the receiver has, too, is used. The
data channel is always there. It costs 93 bytes a message and acknowledgements. In the padding a message costs 3 bytes beside
a voice; without one, a packet of silence is its vehicle, and only the headers of IP, UDP, RTP and SRTP are added.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any, Protocol

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from transport.audio import RATE, VoiceTrack
from transport.opus_extension import Extension, OpusPacket, empty, extended, parse, read_extensions, write

DATA_CHANNEL, OPUS = "datachannel", "opus"
CARRIERS = (OPUS, DATA_CHANNEL)
"""What a Headwire end offers, best first."""

FACE, PHOTO = 120, 121
"""Numbers of the Opus extensions: a parameter message, and a chunk of the photos' stream (``transport.blocks``)."""

_MOST = 1150
"""Bytes of a packet's content, so that it fits one datagram."""

_HESITATION = 0.005
"""Seconds until a photo is asked again that did not ride when it wanted to."""

_BEHIND = 1.5
"""Packet lengths after which a voice is not waited for any longer."""


def choose(sender: Sequence[object], receiver: Sequence[object]) -> str:
    """The carrier that both ends arrive at from their offers."""
    return next((str(name) for name in sender if name in receiver and name in CARRIERS), DATA_CHANNEL)


class PhotoLane(Protocol):
    """What wants to ride in packets that have room."""

    def ready_at(self, now: float) -> float | None:
        """When a packet of its own may leave with a chunk, s; None: nothing to send."""

    def chunk(self, now: float, packet: int, room: int) -> bytes | None:
        """A chunk of at most room bytes for the packet of that number (they count up from 0), if one may ride now."""


class CarrierTrack(MediaStreamTrack):
    """A track of Opus packets that carry parameter messages: the voice's, or packets of silence where there is none.

    RTP time stamps count samples since the track was made, on the monotonic clock: of a voice when it was spoken, of
    silence when it was sent. ``packets``, ``vehicles``: given out, and those without a voice among them.
    """

    kind = "audio"

    def __init__(self, voice: VoiceTrack | None = None) -> None:
        super().__init__()
        self.packets = self.vehicles = 0
        self.photos: PhotoLane | None = None
        self.first_time: float | None = None
        self._voice = voice
        self._origin = time.monotonic()
        self._messages: deque[bytes] = deque(maxlen=16)
        self._spoken: deque[av.Packet[Any]] = deque()
        self._spoken_at = self._packet_at = float("-inf")
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def send(self, message: bytes) -> None:
        """With the next packet of the voice, or at once where none is to be expected."""
        self._messages.append(message)
        self._wake.set()

    def wake(self) -> None:
        """Photos have come, or may go on."""
        self._wake.set()

    async def recv(self) -> av.Packet[Any]:
        if self._voice is not None and self._pump is None:
            self._pump = asyncio.create_task(self._listen(self._voice))
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            now = time.monotonic()
            if self._spoken:
                return self._with_voice(self._spoken.popleft(), now)
            due = self._vehicle_due(now)
            if due is not None and due <= now:
                vehicle = self._vehicle(now)
                if vehicle is not None:
                    return vehicle
                due = now + _HESITATION
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), None if due is None else due - now)

    def stop(self) -> None:
        super().stop()
        if self._pump is not None:
            self._pump.cancel()
        if self._voice is not None:
            self._voice.stop()
        self._wake.set()

    async def _listen(self, voice: VoiceTrack) -> None:
        try:
            while True:
                packet = await voice.recv()
                self._spoken.append(packet)
                self._spoken_at = time.monotonic()
                self._wake.set()
        except MediaStreamError:
            self._spoken_at = float("-inf")
            self._wake.set()

    def _vehicle_due(self, now: float) -> float | None:
        behind = 0.0
        if self._voice is not None:
            behind = self._spoken_at + _BEHIND * self._voice.options.packet_ms / 1000
        if self._messages:
            return max(now, behind)
        ready = self.photos.ready_at(now) if self.photos is not None else None
        return None if ready is None else max(ready, behind)

    def _with_voice(self, packet: av.Packet[Any], now: float) -> av.Packet[Any]:
        assert self._voice is not None
        spoken = self._voice.time_of(packet.pts or 0)
        parsed = parse(bytes(packet))
        return self._load(parsed, self._riding(parsed, now), now if spoken is None else spoken, now)

    def _vehicle(self, now: float) -> av.Packet[Any] | None:
        """A packet of silence; None if nothing wants to ride in it after all."""
        apart = (now - self._packet_at) * 1000
        packet = empty(min(120, max(20, 20 * round(min(apart, 120.0) / 20))))
        riding = self._riding(packet, now)
        if not riding:
            return None
        self.vehicles += 1
        return self._load(packet, riding, now, now)

    def _riding(self, packet: OpusPacket, now: float) -> list[Extension]:
        """What goes with a packet: all messages that wait, and of a photo what may."""
        riding = [Extension(FACE, message) for message in self._messages]
        self._messages.clear()
        room = _MOST - sum(map(len, packet.frames)) - sum(len(extension.data) for extension in riding)
        chunk = self.photos.chunk(now, self.packets, room) if self.photos is not None else None
        if chunk is not None:
            riding.append(Extension(PHOTO, chunk))
        return riding

    def _load(self, packet: OpusPacket, riding: list[Extension], at: float, now: float) -> av.Packet[Any]:
        out: av.Packet[Any] = av.Packet(write(extended(packet, riding) if riding else packet))
        out.pts = round((at - self._origin) * RATE)
        out.time_base = Fraction(1, RATE)
        self.packets += 1
        self._packet_at = now
        if self.first_time is None:
            self.first_time = at
        return out


def unload(data: bytes) -> tuple[OpusPacket, list[Extension]]:
    """The payload of an RTP packet -> what is to be heard, and what rode with it. Raises BitstreamError."""
    packet = parse(data)
    riding = [extension for extension in read_extensions(packet.padding) if extension.number in (FACE, PHOTO)]
    return OpusPacket(packet.config, packet.stereo, packet.frames), riding
