"""The numbers of a motion field in a packet: contexts, and the loops over them, in integers (``docs/bitstream-motion.md``).

Each number is a flag "not zero", a sign, and flags "larger". The first flag's context: the level; the magnitudes of the
neighbours that were coded before it (left, above, above right); the x of the same point, for y; whether the coarser level changed
here; and how lately this point changed in the field that the prediction comes from (its activity: 3 in that very field .. 0 long
ago). A level without any change is one flag.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec.entropy import put_flag, take_flag
from codec.motion_grid import LARGEST, LEVELS, OFFSETS, POINTS

CONTEXTS = len(LEVELS) * 3 * 3 * 2 * 4
SIGNS = len(LEVELS) * 3
EMPTIES = len(LEVELS) * 3
RECENT = 3
"""Activity of a point that has just changed."""

SIZES_ARRAY = np.array(LEVELS, np.int64)
OFFSETS_ARRAY = np.array(OFFSETS, np.int64)

Activity = NDArray[np.int8]
"""(POINTS,) int8, 0..RECENT."""


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def context_of(numbers: Any, activity: Any, level: int, n: int, offset: int, row: int, column: int, axis: int) -> int:
    """Context of "not zero" for one number."""
    at = offset + row * n + column
    near = 0
    if column > 0:
        near += abs(numbers[at - 1, axis])
    if row > 0:
        near += abs(numbers[at - n, axis])
        if column < n - 1:
            near += abs(numbers[at - n + 1, axis])
    twin = min(abs(numbers[at, 0]), 2) if axis == 1 else 0
    above = 0
    if level > 0:
        m = SIZES_ARRAY[level - 1]
        above = min(1, abs(numbers[OFFSETS_ARRAY[level - 1] + (row * m // n) * m + column * m // n, axis]))
    return int(((level * 3 + min(near, 2)) * 3 + twin) * 8 + above * 4 + activity[at])


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def sign_context_of(numbers: Any, level: int, n: int, offset: int, row: int, column: int, axis: int) -> int:
    """Context of the sign: that of the neighbours' sum."""
    at = offset + row * n + column
    near = 0
    if column > 0:
        near += numbers[at - 1, axis]
    if row > 0:
        near += numbers[at - n, axis]
    return int(level * 3 + (2 if near > 0 else (0 if near < 0 else 1)))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def empty_context_of(activity: Any, level: int, n: int, offset: int) -> int:
    """Context of "this level changes nowhere": the largest activity in it, 0, 1..2 or 3."""
    most = 0
    for i in range(offset, offset + n * n):
        most = max(most, activity[i])
    return int(level * 3 + (most + 1) // 2)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put_numbers(state: Any, out: Any, numbers: Any, activity: Any, zero: Any, sign: Any, more: Any, empty: Any) -> None:
    """Code (POINTS, 2) numbers. zero, sign, more, empty: frequencies, see ``motion_tables``."""
    for level in range(len(SIZES_ARRAY)):
        n, offset = SIZES_ARRAY[level], OFFSETS_ARRAY[level]
        any_change = False
        for i in range(offset, offset + n * n):
            if numbers[i, 0] != 0 or numbers[i, 1] != 0:
                any_change = True
        put_flag(state, out, not any_change, empty[empty_context_of(activity, level, n, offset)])
        if not any_change:
            continue
        for row in range(n):
            for column in range(n):
                for axis in range(2):
                    value = numbers[offset + row * n + column, axis]
                    context = context_of(numbers, activity, level, n, offset, row, column, axis)
                    put_flag(state, out, value != 0, zero[context])
                    if value == 0:
                        continue
                    put_flag(state, out, value > 0, sign[sign_context_of(numbers, level, n, offset, row, column, axis)])
                    for m in range(1, LARGEST):
                        put_flag(state, out, abs(value) > m, more[level, min(m, more.shape[1]) - 1])
                        if abs(value) == m:
                            break


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take_numbers(
    state: Any, data: Any, numbers: Any, activity: Any, zero: Any, sign: Any, more: Any, empty: Any
) -> None:
    """Inverse of ``put_numbers``; fills numbers, which must be zero."""
    for level in range(len(SIZES_ARRAY)):
        n, offset = SIZES_ARRAY[level], OFFSETS_ARRAY[level]
        if take_flag(state, data, empty[empty_context_of(activity, level, n, offset)]):
            continue
        for row in range(n):
            for column in range(n):
                for axis in range(2):
                    context = context_of(numbers, activity, level, n, offset, row, column, axis)
                    if not take_flag(state, data, zero[context]):
                        continue
                    positive = take_flag(
                        state, data, sign[sign_context_of(numbers, level, n, offset, row, column, axis)]
                    )
                    value = 1
                    while value < LARGEST and take_flag(state, data, more[level, min(value, more.shape[1]) - 1]):
                        value += 1
                    numbers[offset + row * n + column, axis] = value if positive else -value


def changed(activity: Activity, numbers: NDArray[np.int32]) -> Activity:
    """The activity after a change: RECENT where a point moved, else one less than before."""
    moved = (numbers != 0).any(1)
    return np.where(moved, RECENT, np.maximum(activity - 1, 0)).astype(np.int8)


def no_activity() -> Activity:
    """That of a field which nothing was predicted from."""
    return np.zeros(POINTS, np.int8)
