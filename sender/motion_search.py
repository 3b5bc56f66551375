"""Which change of the field is worth its bits: coordinate descent over the levels' numbers on a quadratic model of the error.

Around the dense flow that explains the frame best, the error of a displacement is nearly a quadratic form: at each pixel the
photo's gradient says which component matters and how much (an aperture: along an edge, and on a flat wall, any motion will do).
Summed over the bilinear weights of the control points that is a small system, H c = r, of 3x3 neighbours. A price on roughness makes
it sound where nothing is seen; the rest is to find whole numbers that lower error + price * bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec.entropy import FREQUENCY_BITS
from codec.motion import MotionTables
from codec.motion_grid import GRID, LARGEST, LEVELS, UNIT, WEIGHTS, Control
from codec.motion_syntax import OFFSETS_ARRAY, SIZES_ARRAY, context_of, sign_context_of
from codec.parameters import Floats

HALF = 128
"""Side of the pictures that the system is made of."""

SWEEPS = 3

_W = np.zeros((len(LEVELS), GRID, GRID), np.float32)
_LOW = np.zeros((len(LEVELS), GRID), np.int64)
_HIGH = np.zeros((len(LEVELS), GRID), np.int64)
for _level, _weights in enumerate(WEIGHTS):
    for _point, _row in enumerate(_weights):
        _W[_level, _point] = _row / 8
        _LOW[_level, _point], _HIGH[_level, _point] = np.nonzero(_row)[0][[0, -1]] + (0, 1)

Costs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Bits of "not zero" (contexts, 2), of signs (contexts, 2), and of a magnitude (levels, LARGEST + 1)."""


def costs(tables: MotionTables) -> Costs:
    """Code lengths of the tables' frequencies."""

    def both(frequency: NDArray[np.int64]) -> NDArray[np.float32]:
        pair = np.stack((2**FREQUENCY_BITS - frequency, frequency), -1)
        return (FREQUENCY_BITS - np.log2(pair)).astype(np.float32)

    more = both(tables.more)
    last = tables.more.shape[1]
    magnitude = np.zeros((len(LEVELS), LARGEST + 1), np.float32)
    for m in range(1, LARGEST + 1):
        for smaller in range(1, m):
            magnitude[:, m] += more[:, min(smaller, last) - 1, 1]
        if m < LARGEST:
            magnitude[:, m] += more[:, min(m, last) - 1, 0]
    return both(tables.zero), both(tables.sign), magnitude


@njit(cache=True, nogil=True, fastmath=True)
def assemble(gradient, target, weight, floor, system, right):  # type: ignore[no-untyped-def]
    """Add up the system.

    gradient: (128, 128, 2) of the photo as seen, grey values per px. target: (128, 128, 2), wanted change, px. weight: (128, 128).
    floor: gradient energy that every pixel has. Fills system (16, 16, 9, 3): for each neighbour (3 * (row + 1) + column + 1) its
    xx, xy, yy; right: (16, 16, 2).
    """
    cell = HALF // GRID
    inverse = np.float32(1.0 / cell)
    half = np.float32(0.5)
    bell = np.empty(4, np.float32)
    rows = np.empty(4, np.int64)
    columns = np.empty(4, np.int64)
    system[:] = 0
    right[:] = 0
    for y in range(HALF):
        fy = (np.float32(y) + half) * inverse - half
        j = int(np.floor(fy))
        v = fy - np.float32(j)
        rows[0] = rows[1] = max(j, 0)
        rows[2] = rows[3] = min(j + 1, GRID - 1)
        for x in range(HALF):
            fx = (np.float32(x) + half) * inverse - half
            i = int(np.floor(fx))
            u = fx - np.float32(i)
            columns[0] = columns[2] = max(i, 0)
            columns[1] = columns[3] = min(i + 1, GRID - 1)
            bell[0], bell[1], bell[2], bell[3] = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
            a, b, w = gradient[y, x, 0], gradient[y, x, 1], weight[y, x]
            xx, xy, yy = w * (a * a + floor), w * a * b, w * (b * b + floor)
            rx = xx * target[y, x, 0] + xy * target[y, x, 1]
            ry = xy * target[y, x, 0] + yy * target[y, x, 1]
            for p in range(4):
                right[rows[p], columns[p], 0] += bell[p] * rx
                right[rows[p], columns[p], 1] += bell[p] * ry
                for q in range(4):
                    e = (rows[q] - rows[p] + 1) * 3 + columns[q] - columns[p] + 1
                    both = bell[p] * bell[q]
                    system[rows[p], columns[p], e, 0] += both * xx
                    system[rows[p], columns[p], e, 1] += both * xy
                    system[rows[p], columns[p], e, 2] += both * yy


def smooth(system: Floats, right: Floats, control: Control, price: float, wanted: Floats, tear: float) -> None:
    """Put a price on the squared difference of neighbouring control points of reference + change.

    control: of the reference. price: where neighbours move alike. wanted: (16, 16, 2), roughly the field that is looked for, px:
    where neighbours want to be ``tear`` px apart the price is a half, and less beyond: there something passes before something else.
    """
    c = control.astype(np.float32) / UNIT
    _smooth(system, right, c, np.float32(price), wanted, np.float32(tear))


@njit(cache=True, nogil=True, fastmath=True)
def _smooth(system, right, c, price, wanted, tear):  # type: ignore[no-untyped-def]
    for j in range(GRID):
        for i in range(GRID):
            for e in (1, 3, 5, 7):
                jj, ii = j + e // 3 - 1, i + e % 3 - 1
                if 0 <= jj < GRID and 0 <= ii < GRID:
                    x, y = wanted[j, i, 0] - wanted[jj, ii, 0], wanted[j, i, 1] - wanted[jj, ii, 1]
                    p = price / (np.float32(1.0) + (x * x + y * y) / (tear * tear))
                    for k in range(2):
                        system[j, i, 4, 2 * k] += p
                        system[j, i, e, 2 * k] -= p
                        right[j, i, k] -= p * (c[j, i, k] - c[jj, ii, k])


def search(
    system: Floats,
    right: Floats,
    step: float,
    price: float,
    cost: Costs,
    activity: NDArray[np.int8],
    numbers: NDArray[np.int32],
) -> float:
    """Improve numbers, (POINTS, 2), in place. step: px. price: of a bit, in units of the error.

    Returns by how much the error falls.
    """
    start = -right
    _advance(system, start, step, numbers, _W, _LOW, _HIGH)
    return float(_search(system, start, step, price, *cost, activity, numbers, _W, _LOW, _HIGH))


@njit(cache=True, nogil=True, fastmath=True)
def _push(system, slope, amount, level, row, column, axis, w, low, high):  # type: ignore[no-untyped-def]
    """Slope after one number grew by amount (px)."""
    for j in range(low[level, row], high[level, row]):
        for i in range(low[level, column], high[level, column]):
            u = amount * w[level, row, j] * w[level, column, i]
            for e in range(9):
                jj, ii = j + e // 3 - 1, i + e % 3 - 1
                if 0 <= jj < GRID and 0 <= ii < GRID:
                    slope[jj, ii, 0] += u * system[j, i, e, axis]
                    slope[jj, ii, 1] += u * system[j, i, e, axis + 1]


@njit(cache=True, nogil=True, fastmath=True)
def _advance(system, slope, step, numbers, w, low, high):  # type: ignore[no-untyped-def]
    for level in range(len(SIZES_ARRAY)):
        n, offset = SIZES_ARRAY[level], OFFSETS_ARRAY[level]
        for row in range(n):
            for column in range(n):
                for axis in range(2):
                    value = numbers[offset + row * n + column, axis]
                    if value:
                        _push(system, slope, np.float32(step * value), level, row, column, axis, w, low, high)


@njit(cache=True, nogil=True, fastmath=True)
def _stiffness(system, level, row, column, axis, w, low, high):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for j in range(low[level, row], high[level, row]):
        for i in range(low[level, column], high[level, column]):
            part = np.float32(0.0)
            for e in range(9):
                jj, ii = j + e // 3 - 1, i + e % 3 - 1
                if 0 <= jj < GRID and 0 <= ii < GRID:
                    part += w[level, row, jj] * w[level, column, ii] * system[j, i, e, 2 * axis]
            total += part * w[level, row, j] * w[level, column, i]
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _bits(value, context, sign_context, level, zero, sign, magnitude):  # type: ignore[no-untyped-def]
    if value == 0:
        return zero[context, 0]
    return zero[context, 1] + sign[sign_context, 1 if value > 0 else 0] + magnitude[level, abs(value)]


@njit(cache=True, nogil=True, fastmath=True)
def _search(  # type: ignore[no-untyped-def]
    system, slope, step, price, zero, sign, magnitude, activity, numbers, w, low, high
):
    gain = 0.0
    for _ in range(SWEEPS):
        any_change = False
        for level in range(len(SIZES_ARRAY)):
            n, offset = SIZES_ARRAY[level], OFFSETS_ARRAY[level]
            for row in range(n):
                for column in range(n):
                    for axis in range(2):
                        stiff = _stiffness(system, level, row, column, axis, w, low, high) + np.float32(1e-6)
                        down = np.float32(0.0)
                        for j in range(low[level, row], high[level, row]):
                            for i in range(low[level, column], high[level, column]):
                                down += w[level, row, j] * w[level, column, i] * slope[j, i, axis]
                        at = offset + row * n + column
                        old = numbers[at, axis]
                        context = context_of(numbers, activity, level, n, offset, row, column, axis)
                        signs = sign_context_of(numbers, level, n, offset, row, column, axis)
                        middle = int(np.rint(max(min(old - down / stiff / step, 30.0), -30.0)))
                        best = old
                        least = price * _bits(old, context, signs, level, zero, sign, magnitude)
                        for candidate in range(4):
                            value = 0 if candidate == 0 else middle + candidate - 2
                            if value == old or abs(value) > LARGEST:
                                continue
                            d = (value - old) * step
                            total = 2 * d * down + d * d * stiff
                            total += price * _bits(value, context, signs, level, zero, sign, magnitude)
                            if total < least:
                                least, best = total, value
                        if best != old:
                            any_change = True
                            numbers[at, axis] = best
                            amount = np.float32((best - old) * step)
                            gain -= 2 * amount * down + amount * amount * stiff
                            _push(system, slope, amount, level, row, column, axis, w, low, high)
        if not any_change:
            break
    return gain
