"""The painting thread: packets from the network in, pictures at their time out.

The frame's path on this side, top to bottom: ``take_packet`` (event loop): bytes -> integers -> jitter buffer; when it is due
``_show`` (this thread): 35 numbers, concealed where they did not come -> mesh -> visibility -> generator -> sinks.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from codec.errors import BitstreamError
from codec.motion import SEQUENCES
from codec.motion_ack import MotionReceipts
from codec.packets import CYCLE_S, Elapsed, frame_number, split_motion, unstamped
from codec.parameter_codec import ParameterPacket
from codec.parameters import Floats, Picture
from receiver.jitter import Due, JitterBuffer, JitterStatistics
from receiver.painter import FacePainter
from receiver.played_figures import PlayedFigures
from receiver.sinks import Sink
from transport.voice_receiver import AudioChunk

logger = logging.getLogger(__name__)

BADGE_AFTER_S = 0.3
"""A face that is missing for so long is said to be."""
_START_PATIENCE_S = 4.0
"""How long after the photo the sender's word on its first frame's time is waited for."""

_CLOCKS_APART_S = 0.25
"""A packet that was captured so much later than it arrives was captured a cycle of its stamp earlier: a queue held it up."""

_FIRST_TRANSIT_S = 0.5
"""What the first packet's way is taken to last, give or take half a second."""

SILENCE_S = 1.0
"""Without a packet for so long, the picture says so."""


@dataclass(frozen=True)
class _Work:
    due: Due | None
    packets: list[tuple[ParameterPacket, float]]
    fields: list[tuple[bytes, int]]
    photos: list[bytes]
    sound: list[tuple[Floats, float]]
    session: int
    silent: bool = False


class Player(threading.Thread):
    """Paints what arrives. ``take_*`` may be called from any thread; ``failure`` is what ended it before its time.

    to_local: the sender's capture time, s since its epoch, on this machine's monotonic clock (None: not known yet).
    acknowledge: what to do when a packet ordered a key to be stored: slot, check. photo_came: when a photo is there: its
    id; called on this thread, as ``ended`` is. fields_came: when a motion packet was decoded: what to tell the sender.
    """

    def __init__(
        self,
        painter: FacePainter,
        sinks: Sequence[Sink],
        log: Path | None,
        to_local: Callable[[float], float | None],
        ended: Callable[[], object],
        acknowledge: Callable[[int, int], object],
        photo_came: Callable[[int], object],
        fields_came: Callable[[bytes], object] = lambda receipt: None,
    ) -> None:
        super().__init__(name="painting", daemon=True)
        self.figures = PlayedFigures()
        self.failure: Exception | None = None
        self._painter = painter
        self._sinks = sinks
        self._log: TextIO | None = log.open("w", buffering=1) if log else None
        self._to_local = to_local
        self._ended = ended
        self._acknowledge = acknowledge
        self._photo_came = photo_came
        self._fields_came = fields_came
        self._fields: list[tuple[bytes, int]] = []
        self._receipts = MotionReceipts()
        self._packets: list[tuple[ParameterPacket, float]] = []
        self._jitter = JitterBuffer()
        self._period_ms = 40.0
        self._changed = threading.Condition()
        self._painting = threading.Lock()
        self._session = 0
        self._photos: deque[bytes] = deque()
        self._sound: deque[tuple[Floats, float]] = deque()
        self._unplayed: deque[tuple[float, Floats, float]] = deque()
        self._sound_delay: float | None = None
        self._last_time_s = 0.0
        self._start_s: float | None = None
        self._ready_at = math.inf
        self._elapsed = Elapsed()
        self._stopping = False
        self._connected = False
        self._arrived_at = 0.0
        self._face_lost_at: float | None = None
        self._picture: Picture | None = None

    def take_packet(self, data: bytes, arrival: float) -> None:
        """A message of the parameters channel. Bytes that are not one are counted and dropped."""
        waiting = self._start_s is None and arrival - self._ready_at < _START_PATIENCE_S
        self._elapsed.see(data)
        if not self._painter.ready or waiting:
            self.figures.early += 1
            return
        try:
            riding, body = split_motion(data[1:])
            packet = self._painter.decode(body) if body or not riding else None
            time_s, body = unstamped(data, self._guess(packet, arrival))
            epoch = self._to_local(0.0)
            if epoch is not None and time_s > arrival - epoch + _CLOCKS_APART_S:
                time_s -= CYCLE_S
        except BitstreamError as error:
            self.figures.damaged += 1
            logger.warning("dropped: %s", error)
            return
        if packet is not None and packet.stored is not None:
            self._acknowledge(*packet.stored)
        with self._changed:
            self.figures.payload_bytes += len(body)
            number = frame_number(time_s, self._period_ms)
            self._fields += [(section.packet, (number - section.back) % SEQUENCES) for section in riding]
            if packet is not None:
                self._jitter.push(packet.sequence, time_s, len(packet.frames), arrival)
                self._packets.append((packet, 1000 * time_s))
                self._arrived_at = arrival
            self._changed.notify()

    def _guess(self, packet: ParameterPacket | None, arrival: float) -> float:
        """About when a packet that has just arrived was captured, s since the sender's epoch; None: only motion came."""
        if packet is None:
            guess = self._jitter.guess_by_time(arrival)
        else:
            guess = self._jitter.guess(packet.sequence, len(packet.frames), arrival)
        if guess is None and self._start_s is not None:
            guess = self._start_s + self._elapsed.seconds
        if guess is None:
            epoch = self._to_local(0.0)
            guess = 0.0 if epoch is None else arrival - epoch - _FIRST_TRANSIT_S
        return guess

    def begin(self, time_s: float) -> None:
        """The sender says when the first frame that it sends was captured, s since its epoch."""
        self._start_s = time_s

    def take_photo(self, data: bytes) -> None:
        """A message of the photos channel."""
        with self._changed:
            self._photos.append(data)
            self.figures.photo_bytes += len(data)
            self._changed.notify()

    def take_sound(self, chunk: AudioChunk, epoch: float | None) -> None:
        """Decoded voice. epoch: the sender's, on the sender's clock, which ``chunk.time`` is on, too."""
        if chunk.time is None or epoch is None:
            return
        spoken = self._to_local(chunk.time - epoch)
        with self._changed:
            self._sound_delay = None if spoken is None else time.monotonic() + self._wait_s - spoken
            self._sound.append((chunk.samples.astype(np.float32) / 32768, chunk.time - epoch))
            self._changed.notify()

    def connected(self, period_ms: float) -> None:
        """A sender came, with so many ms between frames: photos, keys and clock start anew, once the frame in hand is painted."""
        with self._painting, self._changed:
            self._session += 1
            self._connected = True
            self._arrived_at = time.monotonic()
            self._painter.restart(period_ms)
            for waiting in (self._packets, self._fields, self._photos, self._sound):
                waiting.clear()
            self._receipts = MotionReceipts()
            self._start_s = None
            self._ready_at = math.inf
            self._elapsed = Elapsed()
            self._period_ms = period_ms
            self._jitter.period_s = period_ms / 1000
            self._jitter.restart()
            self._changed.notify()

    def disconnected(self) -> None:
        """The sender went: the picture says so."""
        with self._changed:
            self._connected = False
            self._changed.notify()

    def stop(self) -> None:
        """End the thread after the frame it is at."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.join()

    @property
    def jitter(self) -> JitterStatistics:
        """What became of the packets."""
        with self._changed:
            return self._jitter.statistics

    def run(self) -> None:
        try:
            while (work := self._next()) is not None:
                with self._painting:
                    if work.session == self._session:
                        self._do(work)
                if any(sink.closed_by_user for sink in self._sinks):
                    break
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the thread, which raises it
            self.failure = error
        finally:
            if self._log:
                self._log.close()
            self._ended()

    def _do(self, work: _Work) -> None:
        for data in work.photos:
            self._add_photo(data)
        for packet, time_ms in work.packets:
            self._painter.push(packet, time_ms)
        for data, sequence in work.fields:
            self._add_motion(data, sequence)
        self._play(work.sound)
        if work.due is not None:
            self._show(work.due)
        elif work.silent:
            self._show_silence()

    def _next(self) -> _Work | None:
        """Wait for photos, sound, a frame that is due, or a second of silence; None: stop."""
        with self._changed:
            while not self._stopping:
                now, wait = time.monotonic(), self._wait_s
                due = self._jitter.pop(now - wait)
                if due is not None or self._photos or self._sound or (self._unplayed and self._unplayed[0][0] <= now):
                    waiting = self._packets, self._fields, list(self._photos), list(self._sound)
                    work = _Work(due, *waiting, self._session)
                    self._packets, self._fields = [], []
                    self._photos.clear()
                    self._sound.clear()
                    return work
                wake = self._next_due(wait)
                silence = self._arrived_at + SILENCE_S if self._picture is not None else now + 1.0
                if self._picture is not None and now >= silence and wake is None:
                    self._arrived_at = now
                    return _Work(None, [], [], [], [], self._session, silent=True)
                until = silence if wake is None else wake if now >= silence else min(silence, wake)
                self._changed.wait(max(0.0, until - now))
            return None

    @property
    def _wait_s(self) -> float:
        """A generator that hears is shown sound that is spoken after the frame: frame and sound wait for it alike."""
        return 0.0 if self._painter.hearing is None else self._painter.hearing.wait_s

    def _next_due(self, wait: float) -> float | None:
        due = self._jitter.next_due()
        moments = ([] if due is None else [due + wait]) + [moment for moment, *_ in list(self._unplayed)[:1]]
        return min(moments, default=None)

    def _play(self, sound: list[tuple[Floats, float]]) -> None:
        """Give sound to the sinks, and to the generator as soon as it comes."""
        now = time.monotonic()
        for samples, time_s in sound:
            if self._painter.hearing is not None:
                self._painter.hearing.add(samples, time_s)
            self._unplayed.append((now + self._wait_s, samples, time_s))
        while self._unplayed and self._unplayed[0][0] <= now:
            _, samples, time_s = self._unplayed.popleft()
            for sink in self._sinks:
                sink.play(samples, time_s)

    def _add_photo(self, data: bytes) -> None:
        try:
            photo_id = self._painter.add_photo_message(data)
            if photo_id is not None:
                self._ready_at = min(self._ready_at, time.monotonic())
                self._photo_came(photo_id)
                if self.figures.shown == 0:
                    self._show_photo()
        except BitstreamError as error:
            self.figures.damaged += 1
            logger.warning("dropped: %s", error)

    def _show_photo(self) -> None:
        """Before the first frame there is the photo: half a round trip and a frame sooner than a face that moves."""
        picture = self._painter.paint(self._painter.reference_parameters)
        for sink in self._sinks:
            if sink.live:
                sink.show(picture, 0.0)
        self.figures.photo_at = self.figures.photo_at or time.monotonic()

    def _add_motion(self, data: bytes, sequence: int) -> None:
        try:
            with self._painter.stages.measure("field"):
                self._painter.add_motion(data, sequence)
        except BitstreamError as error:
            self.figures.fields_dropped += 1
            logger.debug("dropped: %s", error)
            return
        self.figures.fields += 1
        self._fields_came(self._receipts.add(sequence))

    def _show(self, due: Due) -> None:
        parameters = self._painter.frame_at(1000 * due.time_s)
        if parameters is None or not self._painter.ready:
            return
        number = frame_number(due.time_s, self._period_ms)
        self._picture = self._painter.paint(parameters, number, due.time_s)
        now = time.monotonic()
        if parameters.confidence > 0:
            self._face_lost_at = None
        elif self._face_lost_at is None:
            self._face_lost_at = now
        lost = self._face_lost_at is not None and now - self._face_lost_at >= BADGE_AFTER_S
        with self._painter.stages.measure("show"):
            for sink in self._sinks:
                sink.show(self._picture, due.time_s, "no face" if lost else None)
        self._last_time_s = due.time_s
        self._count(due)

    def _show_silence(self) -> None:
        """Nothing came for a while: the last picture, marked. It is not a new picture and not counted as one."""
        assert self._picture is not None
        badge = "connection is slow" if self._connected else "connection lost"
        time_s = self._last_time_s + time.monotonic() - self.figures.last_at
        for sink in self._sinks:
            if sink.live:
                sink.show(self._picture, time_s, badge)

    def _count(self, due: Due) -> None:
        now = time.monotonic()
        figures = self.figures
        captured_at = None if due.concealed else self._to_local(due.time_s)
        latency = None if captured_at is None else now - captured_at
        if figures.shown == 0:
            figures.first_at = now
        else:
            figures.freeze_s = max(figures.freeze_s, now - figures.last_at)
        figures.last_at = now
        figures.shown += 1
        if latency is not None:
            figures.latencies_s.append(latency)
            if self._sound_delay is not None:
                figures.skews_s.append(abs(self._sound_delay - latency))
        if self._log:
            entry = {
                "time_ms": round(1000 * due.time_s),
                "at": round(now, 4),
                "latency_ms": None if latency is None else round(1000 * latency, 2),
                "lost": self._jitter.statistics.lost,
                "payload_bytes": figures.payload_bytes,
            }
            self._log.write(json.dumps(entry) + "\n")
