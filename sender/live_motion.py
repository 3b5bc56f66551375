"""The closed loop of a call: what the viewer holds by now, and the residual motion that rides to it.

A call's loop knows what the viewer has by what it says: photos that it has acknowledged, motion packets that it has decoded.
Parameter packets go through the viewer's own decoder and concealment, in the loop's thread. Nothing here holds up a parameter
packet: a frame is offered after its packet has been handed over, and the field of it rides with a later message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from codec.face_model import FaceModel
from codec.hwfile import Channel, Message
from codec.motion import distance
from codec.motion_ack import acknowledged
from codec.packets import MAX_BACK, MAX_RIDING, MAX_SECTIONS, Riding, frame_number
from codec.parameters import FrameParameters, Picture, ReferenceFrame
from models.generator import DrivingFrame
from receiver.concealment import Concealment
from sender.closed_loop import ClosedLoop, LoopReport, LoopThread
from sender.judgement import Judgement
from sender.loop_log import LoopLog
from sender.motion import MotionSettings
from sender.viewer import ViewersCopy

logger = logging.getLogger(__name__)

SPARE_S = 1.5
"""Seconds of its rate that the field may save up."""

AT_ONCE_S = 0.3
"""Seconds of its rate that one packet may take."""

DEARER = 4.0
"""How often the price of a bit doubles between savings that are full and none."""

LEAST_PACKET = 8
"""Bytes; with less to spend the loop only looks."""

PAUSE_S = 0.005
"""What the loop waits before it looks at a frame: the event loop needs the interpreter to send the frame's packet."""

BUSY = 0.3
"""Share of the time between two fields that the loop may take; it looks less often where it would take more."""

PACES = (2, 4, 8)
"""Frames from one field to the next."""

CHAINS = ((0.01, 64), (0.05, 6), (1.0, 0))
"""Share of lost packets up to which a packet may hang on so many that are not acknowledged yet; 0: as ``MotionSettings``.
Receipts are a second late, so short chains cost 1.5 times the bits, and long ones what hangs on a lost packet."""


IDENTITY = b"\x11"
"""First byte of an identity message."""


@dataclass
class FieldBudget:
    """How much a packet may take and what a bit costs, so that the field keeps a rate. kbps: of the field, whole packets."""

    kbps: float
    price: float = MotionSettings.price

    def __post_init__(self) -> None:
        self._saved = self.kbps * 125 * SPARE_S
        self._at: float | None = None

    def packet(self, now: float) -> tuple[int, float]:
        """(bytes of the next packet, 0 for none; price of a bit). now: s."""
        most = self.kbps * 125 * SPARE_S
        if self._at is not None:
            self._saved += self.kbps * 125 * (now - self._at)
        self._at = now
        self._saved = min(self._saved, most)
        room = int(min(self._saved, MAX_RIDING, max(24.0, self.kbps * 125 * AT_ONCE_S)))
        if room < LEAST_PACKET:
            return 0, self.price
        return room, self.price * 2 ** (DEARER * (1 - self._saved / most))

    def spent(self, size: int) -> None:
        self._saved -= size


class ViewerOfCall(ViewersCopy):
    """The copy of a call's viewer: it conceals what is between packets, as the viewer does, and has a photo once it says so."""

    def __init__(self, model: FaceModel, period_ms: float) -> None:
        super().__init__(model)
        self._concealment = Concealment(self._tables, period_ms)
        self._reconstruction = self._concealment.reconstruction
        self._on_way: deque[bytes] = deque()
        self.version = 0

    def photo_sent(self, message: bytes) -> None:
        """A message of the photos channel has been handed over."""
        self._on_way.append(message)

    def photo_acknowledged(self, photo_id: int) -> None:
        """The viewer has the oldest picture of that id which is on its way, and all that was sent before it."""
        while self._on_way:
            message = self._on_way.popleft()
            if message[:1] == IDENTITY:
                self.version = message[1]
            reference = self.add_photo_message(message)
            if reference is not None and reference.photo_id == photo_id:
                return
        logger.debug("photo %d was acknowledged but not sent", photo_id)

    @property
    def waiting(self) -> bool:
        """Whether a picture is on its way."""
        return bool(self._on_way)

    @property
    def photo(self) -> ReferenceFrame | None:
        """The whole photo that frames are painted from."""
        return None if self.reference is None else self.memory.warp.photo.reference

    def packet(self, data: bytes, time_ms: float) -> None:
        """A parameter packet has been handed over. time_ms: of its last frame."""
        if self.reference is not None:
            self._concealment.push(self._decoder.decode(data), time_ms)

    def frame_at(self, time_ms: float, unsent: FrameParameters | None = None) -> DrivingFrame | None:
        """A frame as the viewer paints it, without a field; None before it has anything to show. unsent: as good as what it will
        show of a frame that is still to be sent."""
        if self.reference is not None and unsent is not None:
            return self.memory.driving(unsent)
        shown = None if self.reference is None else self._concealment.at(time_ms)
        return None if shown is None else self.memory.driving(shown.parameters(self._tables))


class LiveMotion:
    """A call's motion fields, and the pictures for its memory.

    The encoder's thread feeds it (``new_receiver``, ``sent``, ``frame``), the event loop tells it what the viewer says
    (``photo_acknowledged``, ``acknowledge``) and takes what is ready (``take``, ``take_news``). None of them waits.

    period_ms: between two frames of the source. kbps: of the field, at first. photos_kbps: of pictures after the first. log: see
    ``LoopLog``. clock: s. pause_s: see ``LoopThread``. paces: frames from one field to the next that
    ``every`` may choose from. ``enabled``: off until somebody receives fields. ``report``: what the loop thinks of the newest
    frame that was taken.
    """

    def __init__(
        self,
        model: FaceModel,
        period_ms: float,
        kbps: float,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_S,
        paces: Sequence[int] = PACES,
        photos_kbps: float = 0.0,
    ) -> None:
        import cv2

        # Before other threads use OpenCV: its pool may lock up when it is taken down while it works.
        cv2.setNumThreads(1)
        self.enabled = False
        self.report: LoopReport | None = None
        self._model = model
        self._period_ms = period_ms
        self._loop = ClosedLoop(MotionSettings())
        self._thread: LoopThread[DrivingFrame] = LoopThread(self._loop, pause_s, self._look)
        self._photos_kbps = photos_kbps
        self._news: deque[bytes] = deque()
        self._log = LoopLog(log) if log else None
        self._meet()
        self._budget = FieldBudget(kbps)
        self._budget_lock = threading.Lock()
        self._clock = clock
        self._paces = paces
        self._chain = CHAINS[0][1]
        self._offered: int | None = None
        self._times: dict[int, int] = {}

    def new_receiver(self) -> None:
        """Another viewer has come, which has nothing."""
        self._thread.order(self._restart)

    def sent(self, messages: Sequence[Message]) -> None:
        """Messages of the photos' and the parameters' channels, in order, about to be handed over."""
        for message in messages if self.enabled else ():
            self._thread.order(partial(self._sent, message))

    def photo_acknowledged(self, photo_id: int) -> None:
        """The viewer says that a photo is there."""
        self._thread.order(lambda: self._take_photo(photo_id))

    def take_news(self) -> list[bytes]:
        """Messages of the photos' channel that are to be sent now."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def acknowledge(self, data: bytes) -> None:
        """The viewer says which motion packets it has decoded. Raises BitstreamError for bytes that do not."""
        for sequence in acknowledged(data):
            self._thread.acknowledge(sequence)

    def set_rate(self, kbps: float, loss: float) -> None:
        """What the field may take from now on, and the share of packets that get lost."""
        with self._budget_lock:
            self._budget.kbps = kbps
        self._chain = next(chain for most, chain in CHAINS if loss <= most)

    def frame(self, picture: Picture, time_ms: float, seen: bool = True, unsent: FrameParameters | None = None) -> None:
        """A frame to look at. seen: it shows a face; without one the field is held. unsent: its numbers, where they wait for
        their bundle: so its field can ride with them; else the viewer's own are taken."""
        number = frame_number(time_ms / 1000, self._period_ms)
        pace = 1 if self._loop.uneasy else self.every
        if not self.enabled or (self._offered is not None and 0 <= distance(number, self._offered) < pace):
            return
        self._offered = number
        self._times[number] = round(time_ms)
        spend = self._spend if seen else lambda: 0
        self._thread.offer(picture, lambda: self._viewer.frame_at(time_ms, unsent), number, spend)

    @property
    def every(self) -> int:
        """Frames from one field to the next: more where the loop is slow."""
        share = 1000 * self._thread.usual_s / (BUSY * self._period_ms)
        return next((n for n in self._paces if share < n), self._paces[-1])

    def take(self, time_ms: float) -> list[Riding]:
        """The motion packets that are ready to ride with a message of that time."""
        if not self.enabled:
            return []
        now = frame_number(time_ms / 1000, self._period_ms)
        riding: list[Riding] = []
        while (report := self._thread.take()) is not None:
            self.report = report
            self._write(report)
            back = distance(now, report.sequence)
            if report.data is None:
                continue
            if 0 <= back <= MAX_BACK and len(riding) < MAX_SECTIONS and len(report.data) <= MAX_RIDING:
                riding.append(Riding(back, report.data))
            else:
                self._thread.lose(report.sequence)
        return riding

    def wait(self) -> None:
        """Return when the loop has looked at what it was given."""
        self._thread.wait()

    def medians_ms(self) -> dict[str, float]:
        """The loop's time per frame."""
        return self._thread.stages.medians_ms()

    def close(self) -> None:
        """End the loop's thread."""
        self._thread.close()
        if self._log:
            self._log.close()

    def _sent(self, message: Message) -> None:
        if message.channel is Channel.PHOTOS:
            self._photo_sent(message.data)
        elif message.channel is Channel.PARAMETERS:
            self._viewer.packet(message.data, message.time_ms)

    def _photo_sent(self, message: bytes) -> None:
        self._viewer.photo_sent(message)
        if self._log:
            self._log.sent(message)

    def _restart(self) -> None:
        self._meet()
        if self._log:
            self._log.forgotten()
        self._loop.restart()

    def _meet(self) -> None:
        """A viewer who has nothing."""
        self._news.clear()
        self._viewer = viewer = ViewerOfCall(self._model, self._period_ms)
        self._judgement = Judgement(self._loop, viewer.memory, self._photos_kbps)

    def _look(self, picture: Picture, frame: DrivingFrame, sequence: int, budget: int) -> LoopReport:
        viewer = self._viewer
        look = self._judgement.look(
            picture, frame, sequence, self._clock(), viewer.version, budget, may_send=not viewer.waiting
        )
        for message in look.news:
            self._photo_sent(message)
            self._news.append(message)
        if self._log:
            self._log.looked(frame, look.report, viewer.memory)
        return look.report

    def _take_photo(self, photo_id: int) -> None:
        before = self._viewer.photo
        self._viewer.photo_acknowledged(photo_id)
        now = self._viewer.photo
        came = self._viewer.memory.warp.photos.get(photo_id)
        if self._log and came is not None:
            self._log.remembered(came.reference, came.vertices)
        if now is None or (before is not None and _same(before, now)):
            return
        self._loop.set_photo(now.photo_id, now.picture)

    def _spend(self) -> int:
        with self._budget_lock:
            room, price = self._budget.packet(self._clock())
        encoder = self._loop.encoder
        encoder.settings = replace(encoder.settings, price=price, every=self.every, chain=self._chain)
        return room

    def _write(self, report: LoopReport) -> None:
        """Spent bytes are counted here, by the one who takes them; the log gets what the loop thinks of the frame."""
        if report.data is not None:
            with self._budget_lock:
                self._budget.spent(len(report.data))
        time_ms = self._times.get(report.sequence)
        for old in [n for n in list(self._times) if distance(report.sequence, n) >= 0]:
            del self._times[old]
        if self._log:
            self._log.write(report, time_ms)


def _same(one: ReferenceFrame, other: ReferenceFrame) -> bool:
    return one.photo_id == other.photo_id and np.array_equal(one.picture, other.picture)
