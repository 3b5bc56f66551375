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
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from codec.motion import MAX_MOTION, Change, MotionField, encode_motion
from codec.motion_grid import POINTS
from codec.parameters import Floats, Picture
from sender.motion import MotionEncoder, MotionSettings

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
    region's confidence is a half. A frame that stays unexplained for ``memory`` fields, but below ``most``, becomes the usual.
    """

    dark: float = 18.0
    flat: float = 8.0
    jump: float = 2.0
    least: float = 18.0
    most: float = 60.0
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

    def set_photo(self, photo_id: int, picture: Picture) -> None:
        """The viewer paints from this photo, as decoded, from now on."""
        self.encoder.set_photo(photo_id, picture)
        self._errors.clear()
        self._unexplained = 0
        self.state = LoopState.STEADY

    def acknowledge(self, sequence: int) -> None:
        """The receiver has the field of this frame."""
        self.encoder.acknowledge(sequence)

    def restart(self) -> None:
        """The receiver has no fields (it joined now)."""
        self.encoder.restart()

    def step(self, picture: Picture, flow: Floats, sequence: int, budget: int = MAX_MOTION) -> LoopReport:
        """One frame: (256, 256, 3) of the camera; (256, 256, 2), the viewer's flow without a field; bytes that may be sent."""
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
        if self._unexplained >= s.memory and not nothing and error < s.most:
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
        """Undo what was just encoded: send a field that moves nothing, once; afterwards nothing."""
        encoder = self.encoder
        encoder.restart()
        if before is None:
            return None
        return encode_motion(Change(np.zeros((POINTS, 2), np.int32), encoder.settings.step), sequence, encoder.photo_id)


@dataclass(frozen=True, eq=False)
class _Job:
    picture: Picture
    flow: Callable[[], Floats]
    sequence: int
    budget: int


class LoopThread:
    """Runs a ``ClosedLoop`` in a thread of its own. ``offer`` never waits; ``take`` gives what is done.

    A frame that comes while another waits replaces it: a slow machine has a field for every second or fourth frame.
    """

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._jobs: queue.Queue[_Job | None] = queue.Queue(1)
        self._done: deque[LoopReport] = deque(maxlen=16)
        self._orders: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name="motion", daemon=True)
        self._thread.start()

    def offer(self, picture: Picture, flow: Callable[[], Floats], sequence: int, budget: int = MAX_MOTION) -> None:
        """A frame to look at. flow: gives the viewer's flow; called in the loop's thread, and only if the frame's turn comes."""
        self._put(_Job(picture, flow, sequence, budget))

    def set_photo(self, photo_id: int, picture: Picture) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self._orders.append(lambda: self._loop.set_photo(photo_id, picture))

    def acknowledge(self, sequence: int) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self._orders.append(lambda: self._loop.acknowledge(sequence))

    def restart(self) -> None:
        """As ``ClosedLoop``, before the next frame."""
        self._orders.append(self._loop.restart)

    def take(self) -> LoopReport | None:
        """The oldest report that was not taken yet."""
        try:
            return self._done.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        """End the thread."""
        self._put(None)
        self._thread.join()

    def _put(self, job: _Job | None) -> None:
        while True:
            try:
                self._jobs.put_nowait(job)
                return
            except queue.Full:
                try:
                    self._jobs.get_nowait()
                except queue.Empty:
                    continue

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            while self._orders:
                self._orders.popleft()()
            self._done.append(self._loop.step(job.picture, job.flow(), job.sequence, job.budget))
