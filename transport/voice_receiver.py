"""The receiver's end of the voice: RTP packets in order, decoded, with the sender's time on them.

Packets are taken where they arrive, before aiortc's jitter buffer (which would add four packets of delay): a voice that
is matched with a face by time stamps needs no second buffer. What lies in a packet beside the voice can be read here.
As a consequence aiortc sends no RTCP receiver reports, which spares 0.6 kbps; nobody here would read them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket

from transport.audio import RATE, Samples

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


class VoiceReceiver:
    """``tap`` a receiver of aiortc: its packets come here. ``received``, ``lost`` and ``late`` count packets."""

    def __init__(self, handler: Callable[[AudioChunk], None], clock: Callable[[], float]) -> None:
        self.received = self.lost = self.late = 0
        self._handler = handler
        self._clock = clock
        self._decoder = av.CodecContext.create("libopus", "r")
        self._decoder.sample_rate = RATE
        self._decoder.layout = "mono"
        self._decoder.format = "s16"
        self._waiting: dict[int, tuple[RtpPacket, float]] = {}
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
        self.received += 1
        if self._expected is None:
            self._expected = number
        ahead = (number - self._expected + 0x8000) % 0x10000 - 0x8000
        if ahead < 0 or number in self._waiting:
            self.late += 1
            return
        if ahead > 1000:
            self._waiting.clear()
            self._expected = number
        self._waiting[number] = (packet, self._clock())
        self._release()

    def _release(self) -> None:
        assert self._expected is not None
        while self._waiting:
            held = self._waiting.pop(self._expected, None)
            if held is not None:
                self._decode(*held)
            elif len(self._waiting) < WAITING:
                return
            else:
                self.lost += 1
            self._expected = (self._expected + 1) % 0x10000

    def _decode(self, packet: RtpPacket, arrival: float) -> None:
        if not packet.payload:
            return
        try:
            frames = self._decoder.decode(av.Packet(packet.payload))
        except av.FFmpegError:
            logger.warning("dropped: a voice packet that is not Opus")
            return
        timestamp = self._unwrap(packet.timestamp)
        for frame in frames:
            samples = np.ascontiguousarray(frame.to_ndarray().reshape(-1), np.int16)
            self._handler(AudioChunk(samples, timestamp, self._time_of(timestamp), arrival))
            timestamp += len(samples)

    def _unwrap(self, timestamp: int) -> int:
        if self._newest is None:
            self._newest = timestamp
        self._newest += (timestamp - self._newest + 2**31) % 2**32 - 2**31
        return self._newest

    def _time_of(self, timestamp: int) -> float | None:
        if self._base is None:
            return None
        base, time = self._base
        return time + ((timestamp - base + 2**31) % 2**32 - 2**31) / RATE
