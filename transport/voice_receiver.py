"""The receiver's end of the voice: RTP packets in order, decoded, with the sender's time on them.

Packets are taken where they arrive, before aiortc's jitter buffer (which would add four packets of delay): a voice that
is matched with a face by time stamps needs no second buffer. What lies in a packet beside the voice can be read here.
As a consequence aiortc sends no RTCP receiver reports, which spares 0.6 kbps; ``transport.feedback`` stands in for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket

from codec.errors import BitstreamError
from transport.audio import RATE, Samples
from transport.carriers import unload
from transport.opus_extension import Extension, write

logger = logging.getLogger(__name__)

WAITING = 3
"""Packets that wait for a missing one before it is given up."""


@dataclass(frozen=True)
class AudioChunk:
    """samples: (n,) int16, one channel, 48 kHz. timestamp: RTP's, unwrapped: counts samples, with an arbitrary origin.

    time: the sender's monotonic time of the first sample, s; None until the sender has said how the two belong
    together (its message comes with the first packet). arrival: monotonic time here, s. A gap in the time stamps is
    a lost packet.
    """

    samples: Samples
    timestamp: int
    time: float | None
    arrival: float


@dataclass(frozen=True)
class _Held:
    payload: bytes
    timestamp: int
    arrival: float


class VoiceReceiver:
    """``tap`` a receiver of aiortc: its packets come here. ``received``, ``lost`` and ``late`` count packets.

    What rode in a packet goes to ``on_riding(extensions, arrival)`` at once, in order of arrival; each packet is told to
    ``on_packet(sequence number, time stamp in seconds, bytes of payload, arrival)`` before that.
    """

    def __init__(self, handler: Callable[[AudioChunk], None], clock: Callable[[], float]) -> None:
        self.received = self.lost = self.late = 0
        self.on_riding: Callable[[list[Extension], float], None] = lambda riding, arrival: None
        self.on_packet: Callable[[int, float, int, float], None] = lambda number, timestamp, size, arrival: None
        self._handler = handler
        self._clock = clock
        self._decoder = av.CodecContext.create("libopus", "r")
        self._decoder.sample_rate = RATE
        self._decoder.layout = "mono"
        self._decoder.format = "s16"
        self._waiting: dict[int, _Held] = {}
        self._expected: int | None = None
        self._newest: int | None = None
        self._base: tuple[int, float] | None = None

    def tap(self, receiver: RTCRtpReceiver) -> None:
        """Take this receiver's packets instead of its own jitter buffer and decoder."""

        async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
            self.add(packet)

        receiver._handle_rtp_packet = handle  # type: ignore[method-assign]

    def set_base(self, timestamp: int, sender_time: float) -> None:
        """The sender says: RTP time stamp and its monotonic time, s, of the same sample."""
        self._base = (timestamp, sender_time)

    def add(self, packet: RtpPacket) -> None:
        """A packet has arrived; those that are next in order go to the handler."""
        number = packet.sequence_number
        arrival = self._clock()
        self.received += 1
        self.on_packet(number, self._unwrap(packet.timestamp) / RATE, len(packet.payload), arrival)
        sound = self._unload(packet, arrival)
        if self._expected is None:
            self._expected = number
        ahead = (number - self._expected + 0x8000) % 0x10000 - 0x8000
        if ahead < 0 or number in self._waiting:
            self.late += 1
            return
        if ahead > 1000:
            self._waiting.clear()
            self._expected = number
        self._waiting[number] = _Held(sound, self._unwrap(packet.timestamp), arrival)
        self._release()

    def _unload(self, packet: RtpPacket, arrival: float) -> bytes:
        """Give out what rides in a packet -> the packet without it; nothing if it has no sound."""
        if not packet.payload:
            return b""
        try:
            opus, riding = unload(packet.payload)
        except BitstreamError as error:
            logger.warning("dropped: %s", error)
            return b""
        if riding:
            self.on_riding(riding, arrival)
        return b"" if opus.silent else write(opus)

    def _release(self) -> None:
        assert self._expected is not None
        while self._waiting:
            held = self._waiting.pop(self._expected, None)
            if held is not None:
                self._decode(held)
            elif len(self._waiting) < WAITING:
                return
            else:
                self.lost += 1
            self._expected = (self._expected + 1) % 0x10000

    def _decode(self, held: _Held) -> None:
        if not held.payload:
            return
        try:
            frames = self._decoder.decode(av.Packet(held.payload))
        except av.FFmpegError:
            logger.warning("dropped: a voice packet that is not Opus")
            return
        timestamp = held.timestamp
        for frame in frames:
            samples = np.ascontiguousarray(frame.to_ndarray().reshape(-1), np.int16)
            self._handler(AudioChunk(samples, timestamp, self._time_of(timestamp), held.arrival))
            timestamp += len(samples)

    def _unwrap(self, timestamp: int) -> int:
        if self._newest is None:
            self._newest = timestamp
        unwrapped = self._newest + (timestamp - self._newest + 2**31) % 2**32 - 2**31
        self._newest = max(self._newest, unwrapped)
        return unwrapped

    def _time_of(self, timestamp: int) -> float | None:
        if self._base is None:
            return None
        base, time = self._base
        return time + ((timestamp - base + 2**31) % 2**32 - 2**31) / RATE
