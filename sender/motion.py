"""The sender's motion encoder: camera picture and the viewer's flow in, a packet of the residual field out.

Dense flow (OpenCV's DIS, at half the size) from the viewer's picture to the camera's gives each pixel a wanted place in the
photo; ``motion_search`` finds the change of the field that is worth its bits. The viewer's picture starts from the newest field
sent, so that a large motion is followed over time; the packet's change is from a field that the receiver has acknowledged, or that
hangs on few unacknowledged ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codec.motion import (
    KEPT,
    LIFETIMES,
    MAX_MOTION,
    NONE,
    Change,
    MotionField,
    MotionTables,
    distance,
    encode_motion,
    no_motion,
)
from codec.motion_grid import GRID, LIMIT, POINTS, UNIT
from codec.parameters import Floats, Picture
from sender.motion_search import HALF, assemble, costs, search, smooth

DEAREST = 16
"""How often the price of a bit is doubled, at most, for a packet that must fit."""

LEARNING = 1 / 32
"""How fast the share of lost packets is learned, per packet."""

LOSSES = (0.03, 0.08)
"""Shares of lost packets above which a chain is shorter by one."""

WORTH = 1.0
"""How many times its price a packet must be worth."""

KEEP_AHEAD = 4
"""Frames before a field's life ends at which it is prolonged."""


@dataclass(frozen=True)
class MotionSettings:
    """What the field may cost, and what it follows.

    price: of a bit, in squared grey values: more is fewer bits. roughness: price of a difference of 1 px between neighbouring control
    points, a half of it where they want to be ``tear`` px apart. floor: gradient, squared grey values per px, that even a flat wall
    counts with. robust: mean error, grey values, at which a pixel counts a half. visible: a packet is sent if the
    viewer's picture gains so many grey values, summed over pixels at half the size, a bit (times the root of the price).
    step: of a number, quarter pixels.
    every: frames from one field to the next. reliable: packets surely arrive in order (a file), so that each is acknowledged as it is
    written. chain: how many packets, the new one included, may hang on one another without an acknowledgement: 1 loses nothing but the
    lost, more is cheaper where acknowledgements are late; 0: 1 to 3, by the losses seen.
    """

    price: float = 1600.0
    roughness: float = 300.0
    tear: float = 10.0
    floor: float = 4.0
    robust: float = 8.0
    visible: float = 0.3
    step: int = 4
    every: int = 2
    reliable: bool = False
    chain: int = 0


@dataclass(frozen=True, eq=False)
class Explained:
    """How a frame relates to what the viewer sees. All (128, 128), at half the size, float32.

    wanted: (128, 128, 2), where each pixel lies in the photo by the dense flow, px. seen: the camera's picture, grey.
    error: grey difference that is left when the photo is looked up there.
    """

    wanted: Floats
    seen: Floats
    error: Floats


@dataclass(eq=False)
class _Sent:
    """A field on its way. parent: sequence number of the field that it changes. lost: a later one came, this one did not."""

    field: MotionField
    parent: int | None
    acknowledged: bool = False
    lost: bool = False


class PhotoAtHalf:
    """A photo as the search needs it: grey and its gradients (per px of the full size), at half the size."""

    def __init__(self, picture: Picture) -> None:
        import cv2

        self.grey = cv2.cvtColor(cv2.resize(picture, (HALF, HALF), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        soft = cv2.GaussianBlur(self.grey.astype(np.float32), (0, 0), 0.5)
        x, y = (cv2.Sobel(soft, cv2.CV_32F, a, 1 - a, ksize=3, scale=1 / 16) for a in (1, 0))
        self.all = np.dstack((soft, x, y))

    def seen(self, place: Floats) -> Any:
        """(128, 128, 3) float32: grey, gradient x and y, looked up at (128, 128, 2) places, px of the full size."""
        import cv2

        source = place * np.float32(0.5) - np.float32(0.5)
        return cv2.remap(self.all, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


_COLUMNS, _ROWS = np.meshgrid(np.arange(HALF, dtype=np.float32), np.arange(HALF, dtype=np.float32))
_PLACES = np.dstack((_COLUMNS, _ROWS))


class MotionEncoder:
    """Encodes one sender's residual motion. Not thread-safe: one thread encodes (``closed_loop`` has one).

    ``important``: (128, 128), what a pixel counts in the search, None: all alike. ``mouth`` and ``eyes``: pictures that the next field
    takes these from. ``field`` is the newest that was sent, ``numbers`` how
    it differs from ``started``; ``explained``: what is known of the last frame.
    """

    def __init__(self, settings: MotionSettings | None = None, tables: MotionTables | None = None) -> None:
        import cv2

        self.settings = settings or MotionSettings()
        self._tables = tables or MotionTables.load()
        self._costs = costs(self._tables)
        cv: Any = cv2
        self._dis = cv.DISOpticalFlow_create(cv.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(0)
        self._dis.setPatchStride(4)
        self._dis.setGradientDescentIterations(12)
        self._dis.setVariationalRefinementIterations(0)
        self.important: Floats | None = None
        self._photo: PhotoAtHalf | None = None
        self.photo_id = 0
        self.mouth = self.eyes = NONE
        self._named: int | None = None
        self.field: MotionField | None = None
        self.numbers = np.zeros((POINTS, 2), np.int32)
        self.started: MotionField | None = None
        self.reference: MotionField | None = None
        self.explained: Explained | None = None
        self._sent: dict[int, _Sent] = {}
        self._now = 0
        self._delay = KEPT
        self._loss = 0.0
        self._system = np.empty((16, 16, 9, 3), np.float32)
        self._right = np.empty((16, 16, 2), np.float32)

    def set_photo(self, photo_id: int, picture: Picture) -> None:
        """The photo that the viewer's frames are painted from, as decoded. Forgets all fields."""
        self._photo, self.photo_id = PhotoAtHalf(picture), photo_id
        self.restart()

    def restart(self) -> None:
        """Forget all fields: the receiver has none (it joined now), or they explain nothing any more."""
        self.field = self.reference = None
        self._sent.clear()
        self._now, self._delay = 0, KEPT

    def acknowledge(self, sequence: int) -> None:
        """The receiver has the field of the frame with this sequence number. Unknown and late ones do no harm."""
        sent = self._sent.get(sequence)
        if sent is None or sent.acknowledged:
            return
        sent.acknowledged = True
        self._loss -= LEARNING * self._loss
        delay = max(0, distance(self._now, sequence))
        self._delay = max(delay, self._delay - 1) if self._delay < KEPT else delay
        for other in self._sent.values():
            if distance(sequence, other.field.sequence) > 0 and not (other.acknowledged or other.lost):
                other.lost = True
                self._loss += LEARNING * (1 - self._loss)

    def lose(self, sequence: int) -> None:
        """The packet of that frame was never sent: nothing may hang on it."""
        if sequence in self._sent:
            self._sent[sequence].lost = True

    def _choose_reference(self, sequence: int) -> None:
        """The newest field that hangs on few enough unacknowledged ones."""
        for old in [s for s in self._sent if not 0 < distance(sequence, s) < KEPT]:
            del self._sent[old]
        self._now = sequence
        overdue = self._delay + 2 * self.settings.every
        for sent in self._sent.values():
            if not (sent.lost or sent.acknowledged) and distance(sequence, sent.field.sequence) > overdue:
                sent.lost = True
                self._loss += LEARNING * (1 - self._loss)
        chain = self.settings.chain or 3 - sum(self._loss > limit for limit in LOSSES)
        self.reference = None
        for sent in reversed(self._sent.values()):
            if self._depth(sent) < chain:
                self.reference = sent.field
                return

    def _depth(self, sent: _Sent) -> int:
        """How many unacknowledged packets a field hangs on, its own included; KEPT where it may not exist at all."""
        depth = 0
        while not sent.acknowledged:
            depth += 1
            if sent.lost or (sent.parent is not None and sent.parent not in self._sent):
                return KEPT
            if sent.parent is None:
                break
            sent = self._sent[sent.parent]
        return depth

    def encode(self, picture: Picture, flow: Floats, sequence: int, budget: int = MAX_MOTION) -> bytes | None:
        """The packet of one frame, or ``None`` where the viewer's picture needs none.

        picture: (256, 256, 3) of the camera. flow: (256, 256, 2), the viewer's without a field, px. budget: bytes; 0: only
        ``explained`` is wanted.
        """
        import cv2

        if self._photo is None:
            return None
        base: Any = cv2.resize(flow, (HALF, HALF), interpolation=cv2.INTER_AREA)
        small = cv2.resize(picture, (HALF, HALF), interpolation=cv2.INTER_AREA)
        return self.encode_half(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), base, sequence, budget)

    def encode_half(self, seen: Any, base: Floats, sequence: int, budget: int = MAX_MOTION) -> bytes | None:
        """``encode`` from pictures at half the size. seen: (128, 128) uint8, grey. base: (128, 128, 2), flow, px of full size."""
        if self._photo is None:
            return None
        self._choose_reference(sequence)
        if self.field is not None and distance(sequence, self.field.sequence) > self.field.lifetime:
            self.field = None  # the viewer fades it out
        self._explain(base, seen)
        if budget <= 0:
            return None
        return self._pack(self._search(base, budget, sequence), sequence, base, seen)

    def unexplained(self, photo: Picture, picture: Picture, flow: Floats) -> float:
        """Mean grey difference that dense flow leaves when a frame is painted from a photo, without a field. Forgets all fields.

        photo, picture: (256, 256, 3). flow: (256, 256, 2), the viewer's from that photo, px.
        """
        import cv2

        self.set_photo(0, photo)
        small = cv2.resize(picture, (HALF, HALF), interpolation=cv2.INTER_AREA)
        base: Any = cv2.resize(flow, (HALF, HALF), interpolation=cv2.INTER_AREA)
        self._explain(base, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        assert self.explained is not None
        return float(self.explained.error.mean())

    def _explain(self, base: Floats, seen: Any) -> None:
        """Dense flow from the viewer's picture to the camera's."""
        import cv2

        assert self._photo is not None
        place = base if self.field is None else base + _enlarged(self.field)
        viewer = self._viewed(place)
        self._unlike = self._difference(viewer, seen)
        dense = self._dis.calc(seen, viewer, None)
        wanted: Any = cv2.remap(place, _PLACES + dense, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self._there = self._photo.seen(wanted)
        soft: Any = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.5)
        error: Any = cv2.blur(cv2.absdiff(self._there[..., 0], soft), (5, 5))
        self.explained = Explained(wanted, soft, error)

    def _difference(self, viewer: Any, seen: Any) -> float:
        """Mean difference of two pictures, grey values, where motion matters."""
        import cv2

        difference = cv2.absdiff(viewer, seen)
        return float(difference.mean() if self.important is None else (difference * self.important).mean())

    @property
    def _switched(self) -> bool:
        """Whether photo, mouth or eyes are others than the viewer paints from."""
        if self._named is not None and self._named != self.photo_id:
            return True
        shown = (NONE, NONE) if self.field is None else (self.field.mouth, self.field.eyes)
        return shown != (self.mouth, self.eyes)

    def _viewed(self, place: Floats) -> Any:
        """(128, 128) uint8: what the viewer sees, grey."""
        import cv2

        assert self._photo is not None
        source = place * np.float32(0.5) - np.float32(0.5)
        return cv2.remap(self._photo.grey, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _search(self, base: Floats, budget: int, sequence: int) -> Change:
        import cv2

        settings, explained = self.settings, self.explained
        assert explained is not None
        reference = self.reference
        start = no_motion(sequence, self.photo_id) if reference is None else reference
        far = LIMIT / UNIT - 8
        target = np.clip(explained.wanted - base, -far, far) - _enlarged(start)
        weight = 1 / (1 + explained.error / np.float32(settings.robust))
        if self.important is not None:
            weight = weight * self.important
        gradient = np.ascontiguousarray(self._there[..., 1:])
        assemble(gradient, target, weight, np.float32(settings.floor), self._system, self._right)
        cells: Any = cv2.resize(explained.wanted - base, (GRID, GRID), interpolation=cv2.INTER_AREA)
        smooth(self._system, self._right, start.control, settings.roughness, cells, settings.tear)
        price = settings.price
        for _ in range(DEAREST):
            numbers = np.zeros((POINTS, 2), np.int32)
            gain = search(self._system, self._right, settings.step / 4, price, self._costs, start.activity, numbers)
            change = Change(numbers, settings.step, mouth=self.mouth, eyes=self.eyes)
            data = encode_motion(change, sequence, self.photo_id, reference, self._tables)
            if gain < WORTH * price * 8 * len(data):
                break
            if len(data) <= budget:
                self._data = data
                return change
            price *= 2
        change = Change(np.zeros((POINTS, 2), np.int32), settings.step, mouth=self.mouth, eyes=self.eyes)
        self._data = encode_motion(change, sequence, self.photo_id, reference, self._tables)
        return change

    def _pack(self, change: Change, sequence: int, base: Floats, seen: Any) -> bytes | None:

        reference, data = self.reference, self._data
        start = no_motion(sequence, self.photo_id) if reference is None else reference
        field = change.applied(sequence, start)
        switched = self._switched
        if field is not None and change.numbers.any() and not switched:
            gain = self._unlike - self._difference(self._viewed(base + _enlarged(field)), seen)
            if gain * HALF * HALF < self.settings.visible * self.settings.price**0.5 * 8 * len(data):
                field = None
        if field is None:
            change = replace(change, numbers=np.zeros((POINTS, 2), np.int32))
            data = encode_motion(change, sequence, self.photo_id, reference, self._tables)
        if not change.numbers.any() and not switched:
            if reference is None:
                if field is None or self.field is None or not self.field.control.any():
                    return None
            elif self.field is reference:
                age = distance(sequence, reference.sequence)
                if age + self.settings.every + KEEP_AHEAD < reference.lifetime:
                    return None
                change = replace(change, lifetime=LIFETIMES[-1])
                data = encode_motion(change, sequence, self.photo_id, reference, self._tables)
            elif field is None:
                # Not worth sending, and the newest field is not the reference: it is kept.
                return None
        field = change.applied(sequence, start)
        assert field is not None
        self.numbers, self.field, self.started = change.numbers, field, start
        self._named = self.photo_id
        parent = None if reference is None else reference.sequence
        self._sent[sequence] = _Sent(field, parent, acknowledged=self.settings.reliable)
        return data


def _enlarged(field: MotionField) -> Any:
    """(128, 128, 2) float32: a field at half the size, px of the full size."""
    import cv2

    return cv2.resize(field.displacement(), (HALF, HALF), interpolation=cv2.INTER_LINEAR)
