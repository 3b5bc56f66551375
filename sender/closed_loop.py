"""The sender's copy of the viewer's picture, compared with the camera's: what motion explains, where, and whether anything does.

``ClosedLoop`` takes a frame's camera picture and the viewer's flow, encodes the field, and says per region how sure the viewer's
picture is. When nothing explains the frame (a cut, a hand on the lens, somebody else) it says so within three fields, takes the field
back, and keeps it back until the frame is explained again or a new photo stands. ``LoopThread`` runs it beside the
path of the parameters, which it never delays: a queue of one, the oldest frame dropped.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Generic, TypeVar

import numpy as np

from codec.motion import MAX_MOTION, Change, MotionField, encode_motion
from codec.motion_grid import POINTS
from codec.parameters import Floats, Picture
from codec.stages import Stages
from sender.motion import MotionEncoder, MotionSettings

LEARNING = 1 / 16
"""What the newest frame counts in the loop's usual time."""

TAKEN_BACK = 3
"""How often the viewer is told to take a field back, where a packet may get lost."""

REGIONS = 8
"""The picture's regions along one side, for ``LoopReport.confidence``."""

logger = logging.getLogger(__name__)


class LoopState(enum.Enum):
    """What the loop thinks of a frame.

    STEADY: explained. CHANGED: nothing explains it (a cut, another person, another place): a new photo is wanted.
    COVERED: the camera sees nothing to speak of (covered, lights off): hold, and no photo.
    """

    STEADY = "steady"
    CHANGED = "changed"
    COVERED = "covered"


@dataclass(frozen=True)
class LoopSettings:
    """Thresholds of the loop.

    dark, flat: mean and standard deviation in grey values, below which a picture shows nothing. jump: mean error,
    beside the median of the last ``memory`` fields, from which a frame is unexplained, if it is also above ``least`` grey values;
    ``most``: unexplained whatever came before. patience: fields in a row that make it so. unsure: error, grey values, at which a
    region's confidence is a half. A frame that stays unexplained for ``memory`` fields, but below ``bearable``, becomes the usual:
    another light, not another person.
    """

    dark: float = 18.0
    flat: float = 8.0
    jump: float = 2.0
    least: float = 18.0
    most: float = 60.0
    bearable: float = 35.0
    memory: int = 25
    patience: int = 2
    unsure: float = 14.0


@dataclass(frozen=True, eq=False)
class LoopReport:
    """What the loop did with a frame.

    sequence: of the frame. data: packet to send, if any. field: as the viewer will have it. state: see ``LoopState``.
    error: mean grey difference that remains. confidence: (8, 8) float32 by region, 1 sure .. 0 nothing explains it.
    """

    sequence: int
    data: bytes | None
    field: MotionField | None
    state: LoopState
    error: float
    confidence: Floats


class ClosedLoop:
    """One sender's loop. Not thread-safe; ``LoopThread`` makes a thread of it."""

    def __init__(self, motion: MotionSettings | None = None, settings: LoopSettings | None = None) -> None:
        self.encoder = MotionEncoder(motion)
        self.settings = settings or LoopSettings()
        self.state = LoopState.STEADY
        self._errors: deque[float] = deque(maxlen=self.settings.memory)
        self._unexplained = 0
        self._to_take_back = 0

    @property
    def uneasy(self) -> bool:
        """Whether the last frame was unexplained, and another look decides."""
        return 0 < self._unexplained < self.settings.patience

    def set_photo(self, photo_id: int, picture: Picture) -> None:
        """The viewer paints from this photo, as decoded, from now on."""
        self.encoder.set_photo(photo_id, picture)
        self._errors.clear()
        self._unexplained = 0
        self.state = LoopState.STEADY

    def acknowledge(self, sequence: int) -> None:
        """The receiver has the field of this frame."""
        self.encoder.acknowledge(sequence)

    def lose(self, sequence: int) -> None:
        """The packet of this frame was not sent after all."""
        self.encoder.lose(sequence)

    def restart(self) -> None:
        """The receiver has no fields (it joined now)."""
        self.encoder.restart()

    def step(self, picture: Picture, flow: Floats, sequence: int, budget: int = MAX_MOTION) -> LoopReport:
        """One frame: (256, 256, 3) of the camera; (256, 256, 2), the viewer's flow without a field; bytes that may be sent
        (0: look only, the field stays as it is)."""
        encoder = self.encoder
        before = encoder.field
        data = encoder.encode(picture, flow, sequence, budget)
        explained = encoder.explained
        if explained is None:
            return LoopReport(sequence, None, None, self.state, 0.0, np.ones((REGIONS, REGIONS), np.float32))
        error = float(explained.error.mean())
        self._judge(explained.seen, error)
        cell = explained.error.shape[0] // REGIONS
        regions = explained.error.reshape(REGIONS, cell, REGIONS, cell).mean((1, 3))
        confidence = (1 / (1 + (regions / self.settings.unsure) ** 2)).astype(np.float32)
        if self._unexplained:
            data = self._take_back(sequence, before)
        return LoopReport(sequence, data, encoder.field, self.state, error, confidence)

    def _judge(self, seen: Any, error: float) -> None:
        s = self.settings
        nothing = float(seen.mean()) < s.dark or float(seen.std()) < s.flat
        usual = median(self._errors) if self._errors else error
        wrong = error > s.most or (error > s.least and error > s.jump * usual)
        if nothing or wrong:
            self._unexplained += 1
        else:
            self._unexplained = 0
            self._errors.append(error)
        if self._unexplained >= s.memory and not nothing and error < s.bearable:
            # Nobody sent a new photo, and the picture stays: motion helps a little all the same.
            self._errors.clear()
            self._unexplained = 0
        if self._unexplained == 0:
            self.state = LoopState.STEADY
        elif nothing:
            self.state = LoopState.COVERED
        elif self._unexplained >= s.patience:
            self.state = LoopState.CHANGED

    def _take_back(self, sequence: int, before: MotionField | None) -> bytes | None:
        """Undo what was just encoded: send a field that moves nothing, a few times at most; afterwards nothing."""
        encoder = self.encoder
        encoder.restart()
        if before is not None:
            self._to_take_back = 1 if encoder.settings.reliable else TAKEN_BACK
        if self._to_take_back == 0:
            return None
        self._to_take_back -= 1
        return encode_motion(Change(np.zeros((POINTS, 2), np.int32), encoder.settings.step), sequence, encoder.photo_id)


Seen = TypeVar("Seen")
"""What a frame is compared with: the viewer's flow, or whatever ``look`` takes."""


@dataclass(frozen=True, eq=False)
class _Job(Generic[Seen]):
    picture: Picture
    seen: Callable[[], Seen | None]
    sequence: int
    budget: Callable[[], int]


class LoopThread(Generic[Seen]):
    """Runs a ``ClosedLoop`` in a thread of its own. ``offer`` and ``order`` never wait; ``take`` gives what is done.

    A frame that comes while another waits replaces it: a slow machine has a field for every second or fourth frame.
    ``stages`` has the loop's time per frame under "motion", ``usual_s`` its running mean; ``failure`` is what it stumbled
    over: after that it looks at nothing.
    """

    def __init__(
        self,
        loop: ClosedLoop,
        pause_s: float = 0.0,
        look: Callable[[Picture, Seen, int, int], LoopReport] | None = None,
    ) -> None:
        """pause_s: waited before each frame, so that what was handed over before it gets away first. look: compares a picture
        with what the viewer sees (sequence number, bytes of the field); None: the loop does, with a flow."""
        self.stages = Stages()
        self._pause_s = pause_s
        self.failure: Exception | None = None
        self.usual_s = 0.0
        self._loop = loop
        self._step: Callable[[Picture, Any, int, int], LoopReport] = look or loop.step
        self._jobs: queue.Queue[_Job[Seen] | None] = queue.Queue(1)
        self._done: deque[LoopReport] = deque(maxlen=16)
        self._orders: deque[Callable[[], object]] = deque()
        self._thread = threading.Thread(target=self._run, name="motion", daemon=True)
        self._thread.start()

    def offer(
        self,
        picture: Picture,
        seen: Callable[[], Seen | None],
        sequence: int,
        budget: Callable[[], int] = lambda: MAX_MOTION,
    ) -> None:
        """A frame to look at. seen: gives what the viewer sees, or None if there is nothing to compare with; budget: bytes; both
        are called in the loop's thread, and only if the frame's turn comes."""
        self._put(_Job(picture, seen, sequence, budget))

    def order(self, action: Callable[[], object]) -> None:
        """Something to do in the loop's thread, in order, before the next frame."""
        self._orders.append(action)

    def set_photo(self, photo_id: int, picture: Picture) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self.order(lambda: self._loop.set_photo(photo_id, picture))

    def acknowledge(self, sequence: int) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self.order(lambda: self._loop.acknowledge(sequence))

    def lose(self, sequence: int) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self.order(lambda: self._loop.lose(sequence))

    def restart(self) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self.order(self._loop.restart)

    def take(self) -> LoopReport | None:
        """The oldest report that was not taken yet."""
        try:
            return self._done.popleft()
        except IndexError:
            return None

    def wait(self) -> None:
        """Return when nothing that was offered is left."""
        self._jobs.join()

    def close(self) -> None:
        """End the thread."""
        self._put(None)
        self._thread.join()

    def _put(self, job: _Job[Seen] | None) -> None:
        while True:
            try:
                self._jobs.put_nowait(job)
                return
            except queue.Full:
                try:
                    self._jobs.get_nowait()
                    self._jobs.task_done()
                except queue.Empty:
                    continue

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            time.sleep(self._pause_s)
            began = time.perf_counter()
            try:
                if self.failure is None:
                    with self.stages.measure("motion"):
                        self._look(job)
            except Exception as error:
                self.failure = error
                logger.exception("the call goes on without a motion field")
            self.usual_s += LEARNING * (time.perf_counter() - began - self.usual_s)
            self._jobs.task_done()

    def _look(self, job: _Job[Seen]) -> None:
        while self._orders:
            self._orders.popleft()()
        seen = job.seen()
        if seen is not None:
            self._done.append(self._step(job.picture, seen, job.sequence, job.budget()))
