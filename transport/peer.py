"""The two ends of a call over one WebRTC connection: what is different between them (the rest is ``transport.peer_base``).

peer = await SenderPeer.connect(signalling, hello={...}, handlers=Handlers(control=...), audio_track=track)
peer.send_parameters(packet)
await peer.send_photo(photo).wait()
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiortc import MediaStreamTrack

from codec.errors import BitstreamError
from transport.audio import VoiceTrack
from transport.carriers import OPUS, CarrierTrack, choose
from transport.feedback import MAX_KEY, MAX_KEYS
from transport.opus_carrier import OpusReceiver, OpusSender
from transport.peer_base import HELLO, MAX_PARAMETERS, PeerBase
from transport.peer_options import Handlers, PeerOptions
from transport.photos import KEY, MAX_KNOWN, MAX_PHOTO
from transport.signalling import Description, Role, Signalling

KEYS_EVERY = 3.0
"""Seconds between two messages with acknowledgements on the control channel: each costs 130 bytes, and as many to acknowledge it."""

__all__ = ["MAX_PARAMETERS", "Handlers", "PeerOptions", "ReceiverPeer", "SenderPeer"]


class SenderPeer(PeerBase):
    """The end with the camera: it makes the offer."""

    role: Role = "sender"
    _opus: OpusSender | None = None

    async def _negotiate(self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None) -> None:
        connection = self._connection
        can_carry = OPUS in self._options.carriers and (audio is None or isinstance(audio, VoiceTrack))
        if isinstance(audio, VoiceTrack):
            connection.on_first_audio = self._send_audio_base
        if can_carry or isinstance(audio, VoiceTrack):
            assert audio is None or isinstance(audio, VoiceTrack)
            audio = CarrierTrack(audio)
        await signalling.send(replace(ours, kind="offer", sdp=await connection.offer(audio)))
        answer = await signalling.receive()
        await self._check_version(signalling, answer)
        carriers, partial = _offered(answer.hello)
        self._photos.known_there(partial)
        if can_carry and choose(self._options.carriers, carriers) == OPUS:
            assert isinstance(audio, CarrierTrack)
            self._use_opus(audio)
        else:
            connection.watch_link(lambda state: self._handlers.link(state))
        self._agreed(answer)
        await connection.accept(answer)

    def _use_opus(self, track: CarrierTrack) -> None:
        self.carrier = OPUS
        self._opus = OpusSender(track, self._photos.outbox)
        self._photos.on_wake = track.wake
        self._opus.on_state = lambda state: self._handlers.link(state)
        self._opus.on_key = self._on_key
        self._connection.on_rtp_sent = self._opus.rtp_sent
        self.meter.on_sent = self._opus.photos.pacer.sent
        self._connection.rtp.on_feedback = self._on_feedback

    def _takes_photos(self) -> bool:
        return self._opus is not None

    def _on_feedback(self, data: bytes) -> None:
        assert self._opus is not None
        try:
            self._opus.feedback(data)
        except BitstreamError as error:
            self._count_invalid(str(error))

    def _send_messages(self, messages: Sequence[bytes]) -> None:
        if self._opus is None:
            super()._send_messages(messages)
        elif self.alive:
            self._opus.send(messages)

    def _send_audio_base(self, timestamp: int, spoken: float) -> None:
        self.send_control({"kind": "audio", "timestamp": timestamp, "time": spoken})


class ReceiverPeer(PeerBase):
    """The end with the screen: it answers."""

    role: Role = "receiver"
    _opus: OpusReceiver | None = None

    async def _negotiate(self, signalling: Signalling, ours: Description, audio: MediaStreamTrack | None) -> None:
        offer = await signalling.receive()
        await self._check_version(signalling, offer)
        carriers, _ = _offered(offer.hello)
        self._connection.on_audio = self._voice.tap
        self._keys: dict[bytes, None] = {}
        self._keys_at = float("-inf")
        self._receipt: bytes | None = None
        answer = await self._connection.answer(offer)
        if choose(carriers, self._options.carriers) == OPUS:
            self.carrier = OPUS
            self._opus = OpusReceiver(self._take_parameters, self._photos.take, self._connection.rtp.send_feedback)
            self._voice.on_packet, self._voice.on_riding = self._opus.packet, self._opus.riding
            self._tasks.append(asyncio.create_task(self._opus.run()))
        self._agreed(offer)
        await signalling.send(replace(ours, kind="answer", sdp=answer))

    def send_key_ack(self, data: bytes) -> None:
        """Tell the sender, within a second or so, that a key is here: at most 8 bytes that name it. It may get lost: say it
        again while the sender goes on without that key. Raises ValueError when too long."""
        if not 1 <= len(data) <= MAX_KEY:
            raise ValueError(f"an acknowledgement of a key has 1 to {MAX_KEY} bytes, not {len(data)}")
        if self._opus is not None:
            self._opus.key(data)
            return
        if not self._keys and self._receipt is None:
            self._loop.call_later(max(0.0, self._keys_at + KEYS_EVERY - time.monotonic()), self._send_keys)
        self._keys[data] = None

    def send_receipt(self, data: bytes) -> None:
        """As ``send_key_ack``, once, of what comes all the time: a newer one takes its place."""
        if not 1 <= len(data) <= MAX_KEY:
            raise ValueError(f"a receipt has 1 to {MAX_KEY} bytes, not {len(data)}")
        if self._opus is not None:
            self._opus.receipt(data)
            return
        if not self._keys and self._receipt is None:
            self._loop.call_later(max(0.0, self._keys_at + KEYS_EVERY - time.monotonic()), self._send_keys)
        self._receipt = data

    def _send_keys(self) -> None:
        self._keys_at = time.monotonic()
        keys, self._keys = list(self._keys), {}
        if self._receipt is not None:
            keys, self._receipt = [*keys, self._receipt], None
        keys = keys[-MAX_KEYS:]
        if self.alive:
            self.send_control({"kind": "keys", "keys": keys})


def _offered(hello: dict[str, Any]) -> tuple[list[object], dict[bytes, int]]:
    """The transport's part of a hello -> carriers, and what is there of photos; nothing of what is not as it
    should be."""
    offered = hello.get(HELLO)
    if not isinstance(offered, dict):
        return [], {}
    carriers, partial = offered.get("carriers"), offered.get("partial")
    known: dict[bytes, int] = {}
    for entry in partial[:MAX_KNOWN] if isinstance(partial, list) else ():
        with suppress(ValueError, TypeError):
            name, size = entry
            key = bytes.fromhex(name)
            if len(key) == KEY and isinstance(size, int) and 0 <= size <= MAX_PHOTO:
                known[key] = size
    return carriers[:8] if isinstance(carriers, list) else [], known
