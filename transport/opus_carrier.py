"""The two ends of the ``opus`` carrier: what rides in packets on one side, what is told about them on the other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from codec.errors import BitstreamError
from transport.blocks import BlockReceiver
from transport.carriers import FACE, CarrierTrack
from transport.feedback import LinkMeter, LinkState, Report, Reporter
from transport.opus_extension import Extension
from transport.photo_lanes import OpusPhotos
from transport.photos import Outbox

logger = logging.getLogger(__name__)


class OpusSender:
    """Sends messages and photos in the packets of a track. ``on_state(state)``, ``on_key(data)``: what reports say."""

    def __init__(self, track: CarrierTrack, outbox: Outbox) -> None:
        self.track = track
        self.photos = OpusPhotos(outbox)
        self.on_state: Callable[[LinkState], None] = lambda state: None
        self.on_key: Callable[[bytes], None] = lambda data: None
        self._meter = LinkMeter()
        self._count = 0
        self._newest = 0
        track.photos = self.photos

    def send(self, messages: Sequence[bytes]) -> None:
        """In one packet."""
        self.photos.pacer.face(time.monotonic())
        for message in messages:
            self.track.send(message)

    def rtp_sent(self, sequence: int, size: int) -> None:
        """A packet of the track has left; size: of the datagram."""
        self._meter.sent(sequence, size, time.monotonic())
        self._newest = sequence
        self._count += 1

    def feedback(self, data: bytes) -> None:
        """A report has come. Raises BitstreamError for bytes that are none."""
        now = time.monotonic()
        report = Report.parse(data)
        newest_packet = self._count - 1 - (self._newest - report.newest) % 0x10000
        if report.photo is not None:
            self.photos.acknowledge(*report.photo, newest_packet, now)
        state = self._meter.report(report, now)
        if state is not None:
            self.photos.update(state)
            self.on_state(state)
        for key in report.keys:
            self.on_key(key)
        self.track.wake()


class OpusReceiver:
    """Takes what rode in packets apart, and reports. ``run`` sends the reports until it is cancelled."""

    def __init__(
        self,
        face: Callable[[bytes, float], None],
        photos: Callable[[bytes], None],
        send: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        """photos: more bytes of the stream of pieces. send: the body of a feedback message."""
        self.reporter = Reporter()
        self._face = face
        self._photos = photos
        self._send = send
        self._blocks = BlockReceiver()
        self._wake = asyncio.Event()
        self._broken = False

    def packet(self, sequence: int, timestamp: float, size: int, arrival: float) -> None:
        self.reporter.packet(sequence, timestamp, size, arrival)
        self._wake.set()

    def riding(self, extensions: list[Extension], arrival: float) -> None:
        for extension in extensions:
            if extension.number == FACE:
                self._face(extension.data, arrival)
            elif not self._broken:
                self._chunk(extension.data)

    def key(self, data: bytes) -> None:
        """Acknowledge a key with the next report."""
        self.reporter.key(data)
        self._wake.set()

    def receipt(self, data: bytes) -> None:
        """Say it with the next report, unless a newer one takes its place; it makes none by itself."""
        self.reporter.receipt(data)

    async def run(self) -> None:
        while True:
            due = self.reporter.due()
            now = time.monotonic()
            if due is not None and due <= now:
                try:
                    await self._send(self.reporter.report(now))
                except ConnectionError:
                    return
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), None if due is None else due - now)
            except TimeoutError:
                continue

    def _chunk(self, chunk: bytes) -> None:
        try:
            for data in self._blocks.add(chunk):
                self._photos(data)
        except BitstreamError as error:
            logger.warning("no more photos on this connection: %s", error)
            self._broken = True
        self.reporter.photo(*self._blocks.state())
