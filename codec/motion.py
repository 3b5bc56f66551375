"""Residual motion: the field that says what the 35 floats cannot, and its packets (``docs/bitstream-motion.md``).

The sender paints the viewer's picture itself, compares it with the camera's and sends how far from where the 35 floats say
the photo must be looked up. A packet belongs to one frame (whose sequence number its carrier names) and to one photo. It holds
either a field or its change from an earlier one, which the sender has reason to think the receiver has.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec.entropy import (
    ended_well,
    finish,
    put_bits,
    put_flag,
    start_decoder,
    start_encoder,
    take_bits,
    take_flag,
)
from codec.errors import BitstreamError
from codec.motion_grid import CELL, GRID, LIMIT, POINTS, UNIT, Control, Numbers, change
from codec.motion_syntax import Activity, changed, no_activity, put_numbers, take_numbers
from codec.parameters import SIZE, Floats

MAX_MOTION = 400
"""Bytes; a longer packet is refused unread."""

KEPT = 64
"""A field can be predicted from one that is at most KEPT - 1 frames older, and is forgotten afterwards."""

STEPS = (2, 4, 6, 8)
"""Steps that a packet may choose from, 1/4 px."""

LIFETIMES = (10, 60)
"""Frames that a field may be held if no other comes, before it fades."""

FADE_FRAMES = 10
"""Frames in which a stale field fades to nothing."""

SEQUENCES = 1 << 16
"""Frames are counted modulo this."""

NONE = 31
"""Stands for no picture among the ids 0..30 that mouth and eyes may be painted from."""

_CHOICE_BITS = 5
_RESERVED, _KEY, _ODD, _FARTHER, _STEP, _LASTING, _CHOSEN = 16, 256, 1024, 16384, 512, 2048, 3072
"""Frequencies of the header's flags, of 2^15."""

_NEAR = 6
"""Half ages up to which the age of a reference is coded in flags."""


@dataclass(frozen=True, eq=False)
class MotionTables:
    """Frequencies of 2^15 (``motion_syntax``). zero: (CONTEXTS,). sign: (SIGNS,). more: (levels, M). empty: (EMPTIES,).
    All int64.
    """

    zero: NDArray[np.int64]
    sign: NDArray[np.int64]
    more: NDArray[np.int64]
    empty: NDArray[np.int64]

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> MotionTables:
        """The shipped tables."""
        with np.load(Path(__file__).with_name("data") / "motion_tables.npz", allow_pickle=False) as file:
            return MotionTables(*(file[k].astype(np.int64) for k in ("zero", "sign", "more", "empty")))


@dataclass(frozen=True, eq=False)
class MotionField:
    """A field as decoded.

    sequence: of its frame, 0..65535. photo_id: of the photo that it moves, 0..255. control: (16, 16, 2) int32, displacement
    of the place in the photo, x and y, 1/UNIT px. activity: how lately each point changed. step: 1/4 px. lifetime: frames
    for which it may be held. weight: 1, less where it is fading. mouth, eyes: ids of the pictures in the memory that these are
    painted from, NONE: from the photo as all else.
    """

    sequence: int
    photo_id: int
    control: Control
    activity: Activity
    step: int = 4
    lifetime: int = LIFETIMES[0]
    weight: float = 1.0
    mouth: int = NONE
    eyes: int = NONE

    def apply(self, flow: Floats) -> Floats:
        """Move a flow by the field, in place. flow: (256, 256, 2) float32, where each pixel comes from in the photo, px."""
        _add(flow, self.control, np.float32(self.weight / UNIT))
        return flow

    def displacement(self) -> Floats:
        """(16, 16, 2) float32: the control points in pixels, faded as they are shown."""
        return np.asarray(self.control * np.float32(self.weight / UNIT), np.float32)

    def towards(self, other: MotionField, part: float) -> MotionField:
        """A field between this one (part 0) and another of the same photo (part 1)."""
        t = round(part * 256)
        control = (self.control * (256 - t) + other.control * t) >> 8
        weight = self.weight + (other.weight - self.weight) * part
        nearest = self if part < 0.5 else other
        return replace(other, control=control.astype(np.int32), weight=weight, mouth=nearest.mouth, eyes=nearest.eyes)


def no_motion(sequence: int, photo_id: int) -> MotionField:
    """The field that moves nothing."""
    return MotionField(sequence, photo_id, np.zeros((GRID, GRID, 2), np.int32), no_activity())


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _add(flow: Any, control: Any, scale: Any) -> None:
    inverse = np.float32(1.0 / CELL)
    half = np.float32(0.5)
    row = np.empty((GRID, 2), np.float32)
    for y in range(SIZE):
        fy = (np.float32(y) + half) * inverse - half
        j = int(np.floor(fy))
        v = fy - np.float32(j)
        below = min(j + 1, GRID - 1)
        j = max(j, 0)
        for i in range(GRID):
            for k in range(2):
                row[i, k] = scale * (control[j, i, k] + v * np.float32(control[below, i, k] - control[j, i, k]))
        for x in range(SIZE):
            fx = (np.float32(x) + half) * inverse - half
            i = int(np.floor(fx))
            u = fx - np.float32(i)
            right = min(i + 1, GRID - 1)
            i = max(i, 0)
            flow[y, x, 0] += row[i, 0] + u * (row[right, 0] - row[i, 0])
            flow[y, x, 1] += row[i, 1] + u * (row[right, 1] - row[i, 1])


@dataclass(frozen=True, eq=False)
class Change:
    """What a packet says. numbers: (POINTS, 2), in steps. step: one of STEPS. lifetime: one of LIFETIMES. mouth, eyes: as in
    ``MotionField``.
    """

    numbers: Numbers
    step: int
    lifetime: int = LIFETIMES[0]
    mouth: int = NONE
    eyes: int = NONE

    def applied(self, sequence: int, reference: MotionField) -> MotionField | None:
        """The field that it makes of a reference; ``None`` if a control point would leave +-LIMIT."""
        control = reference.control + change(self.numbers, self.step)
        if np.abs(control).max() > LIMIT:
            return None
        activity = changed(reference.activity, self.numbers)
        return MotionField(
            sequence,
            reference.photo_id,
            control,
            activity,
            self.step,
            self.lifetime,
            mouth=self.mouth,
            eyes=self.eyes,
        )


def distance(newer: int, older: int) -> int:
    """Frames from one sequence number to another, -32768..32767."""
    return (newer - older + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2


def encode_motion(
    content: Change,
    sequence: int,
    photo_id: int,
    reference: MotionField | None = None,
    tables: MotionTables | None = None,
) -> bytes:
    """A change of a field -> bytes; without a reference it is the field itself, of that photo.

    Raises ValueError for a reference that is not 1..KEPT - 1 frames older, or a step, lifetime or id that there is not.
    """
    tables = tables or MotionTables.load()
    state, out = np.zeros(5, np.int64), np.zeros(8192, np.uint8)
    start_encoder(state)
    put_flag(state, out, False, _RESERVED)
    put_flag(state, out, reference is None, _KEY)
    if reference is None:
        put_bits(state, out, photo_id, 8)
        put_bits(state, out, STEPS.index(content.step), 2)
        activity = no_activity()
    else:
        back = distance(sequence, reference.sequence)
        if not 1 <= back < KEPT:
            raise ValueError(f"a field that is {back} frames older cannot be referred to")
        _put_distance(state, out, back)
        put_flag(state, out, content.step != reference.step, _STEP)
        if content.step != reference.step:
            put_bits(state, out, STEPS.index(content.step), 2)
        activity = reference.activity
    put_flag(state, out, content.lifetime != LIFETIMES[0], _LASTING)
    chosen, before = (
        (content.mouth, content.eyes),
        (NONE, NONE) if reference is None else (reference.mouth, reference.eyes),
    )
    if not all(0 <= x <= NONE for x in chosen):
        raise ValueError(f"mouth and eyes cannot come from pictures {chosen}: ids go to {NONE - 1}")
    put_flag(state, out, chosen != before, _CHOSEN)
    if chosen != before:
        for x in chosen:
            put_bits(state, out, x, _CHOICE_BITS)
    put_numbers(state, out, content.numbers, activity, tables.zero, tables.sign, tables.more, tables.empty)
    return out[: finish(state, out)].tobytes()


class MotionDecoder:
    """Packets -> fields. Keeps the fields of the last KEPT frames, to predict from. Not thread-safe."""

    def __init__(self, tables: MotionTables | None = None) -> None:
        self._tables = tables or MotionTables.load()
        self._fields: OrderedDict[int, MotionField] = OrderedDict()

    def reset(self) -> None:
        """Forget all fields (another sender, or a new session)."""
        self._fields.clear()

    def decode(self, data: bytes, sequence: int) -> MotionField:
        """The packet of the frame with this sequence number -> its field.

        Raises BitstreamError, and nothing else, for any other bytes, and for a change of a field that is not here; the state is
        then unchanged.
        """
        if len(data) > MAX_MOTION:
            raise BitstreamError(f"motion packet of {len(data)} bytes, at most {MAX_MOTION} are allowed")
        bytes_in = np.frombuffer(data, np.uint8)
        state = np.zeros(5, np.int64)
        start_decoder(state, bytes_in)
        if take_flag(state, bytes_in, _RESERVED):
            raise BitstreamError("motion packet of a version that this program does not read: update it")
        if take_flag(state, bytes_in, _KEY):
            reference = no_motion(sequence, int(take_bits(state, bytes_in, 8)))
            step = STEPS[take_bits(state, bytes_in, 2)]
        else:
            reference = self._reference(sequence, _take_distance(state, bytes_in))
            step = reference.step
            if take_flag(state, bytes_in, _STEP):
                step = STEPS[take_bits(state, bytes_in, 2)]
        lifetime = LIFETIMES[take_flag(state, bytes_in, _LASTING)]
        mouth, eyes = reference.mouth, reference.eyes
        if take_flag(state, bytes_in, _CHOSEN):
            mouth, eyes = (int(take_bits(state, bytes_in, _CHOICE_BITS)) for _ in range(2))
        numbers = np.zeros((POINTS, 2), np.int32)
        tables = self._tables
        take_numbers(state, bytes_in, numbers, reference.activity, tables.zero, tables.sign, tables.more, tables.empty)
        if not ended_well(state, bytes_in):
            raise BitstreamError("motion packet is damaged")
        field = Change(numbers, step, lifetime, mouth, eyes).applied(sequence, reference)
        if field is None:
            raise BitstreamError("motion packet moves the picture out of bounds")
        self._keep(field)
        return field

    def _reference(self, sequence: int, back: int) -> MotionField:
        reference = self._fields.get((sequence - back) % SEQUENCES)
        if reference is None:
            raise BitstreamError("motion packet changes a field that did not come")
        return reference

    def _keep(self, field: MotionField) -> None:
        self._fields[field.sequence] = field
        for old in [s for s in self._fields if not -KEPT < distance(field.sequence, s) < KEPT]:
            del self._fields[old]


def _put_distance(state: Any, out: Any, back: int) -> None:
    put_flag(state, out, back % 2 == 1, _ODD)
    half = (back + 1) // 2
    for at in range(1, _NEAR + 1):
        put_flag(state, out, at < half, _FARTHER)
        if at == half:
            return
    put_bits(state, out, half - 1, 5)


def _take_distance(state: Any, data: Any) -> int:
    odd = take_flag(state, data, _ODD)
    for half in range(1, _NEAR + 1):
        if not take_flag(state, data, _FARTHER):
            return 2 * half - int(odd)
    return 2 * (int(take_bits(state, data, 5)) + 1) - int(odd)
