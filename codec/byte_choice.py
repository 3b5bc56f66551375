"""The sender's last look at a packet of one frame: packets have whole bytes, so the integers are made to fit.

Where the numbers reach a little into another byte, those are moved that save it at the least error; where room is left in the
last byte, those that lower the error. The error is that of the mesh, as in ``rate_choice``, and what is gained counts in bits.
Not in the format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from codec.entropy import MAXIMUM
from codec.frame_syntax import frame_length, length_of

MOST_CUT = 5.0
"""Bits in the last byte up to which it is tried to do without it."""

MOST_MOVES = 3
"""Numbers that are moved by one."""


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _costs(ex: Any, ey: Any, jacobian: Any, width: Any, inverse: Any, share: Any, costs: Any) -> None:
    count = len(ex)
    now = np.float32(0.0)
    for k in range(count):
        s = ex[k] * ex[k] + ey[k] * ey[k]
        r = s * inverse
        now += s * (np.float32(1.0) + r * r * r)
    for i in range(len(width)):
        d = np.float32(width[i])
        up = np.float32(0.0)
        down = np.float32(0.0)
        for k in range(count):
            jx, jy = d * jacobian[i, 0, k], d * jacobian[i, 1, k]
            px, py = ex[k] + jx, ey[k] + jy
            s = px * px + py * py
            r = s * inverse
            up += s * (np.float32(1.0) + r * r * r)
            px, py = ex[k] - jx, ey[k] - jy
            s = px * px + py * py
            r = s * inverse
            down += s * (np.float32(1.0) + r * r * r)
        costs[2 * i] = share * (down - now)
        costs[2 * i + 1] = share * (up - now)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def fill(
    wanted: Any,
    width: Any,
    base: Any,
    shift: Any,
    classes: Any,
    lengths: Any,
    weight: Any,
    expected: Any,
    jacobian: Any,
    bound: float,
    trade: float,
    header: float,
    values: Any,
) -> None:
    """Improve values (N + 1,), the last of which is left alone. header: bits of the packet besides them. The rest: as
    ``rate_choice.refine``."""
    n = len(wanted)
    count = jacobian.shape[2]
    ex0 = np.zeros(count, np.float32)
    ey0 = np.zeros(count, np.float32)
    for i in range(n):
        d = np.float32(values[i] * width[i] - wanted[i])
        for k in range(count):
            ex0[k] += d * jacobian[i, 0, k]
            ey0[k] += d * jacobian[i, 1, k]
    inverse = np.float32(1.0 / (bound * bound))
    share = np.float32(trade / count)
    bits = header + frame_length(values, base, shift, lengths, weight, expected)
    whole = np.ceil(bits / 8.0)
    first = np.zeros(2 * n, np.float32)
    _costs(ex0, ey0, jacobian, width, inverse, share, first)
    best = values.copy()
    best_gain = 0.0
    for fewer in range(2):
        limit = 8.0 * (whole - fewer)
        if (fewer and bits - limit > MOST_CUT) or (not fewer and limit - bits < 1.0):
            continue
        trial = values.copy()
        ex, ey, costs = ex0.copy(), ey0.copy(), first.copy()
        now, cost = bits, 0.0
        for turn in range(MOST_MOVES):
            pick, most = -1, 0.0
            for q in range(2 * n):
                i, way = q >> 1, 2 * (q & 1) - 1
                if abs(trial[i] + way) > MAXIMUM:
                    continue
                b = length_of(trial[i] + way, lengths[classes[i]]) - length_of(trial[i], lengths[classes[i]])
                if fewer:
                    if b < -0.05:
                        worth = min(-b, now - limit + 0.3) / max(costs[q], np.float32(0.05))
                        if worth > most:
                            pick, most = q, worth
                elif costs[q] < 0 and now + b <= limit:
                    worth = -costs[q]
                    if worth > most:
                        pick, most = q, worth
            if pick < 0:
                break
            i, way = pick >> 1, 2 * (pick & 1) - 1
            trial[i] += way
            then = header + frame_length(trial, base, shift, lengths, weight, expected)
            if not fewer and then > limit:
                trial[i] -= way
                break
            cost += costs[pick]
            now = then
            if fewer and (now <= limit or cost > 8.0):
                break
            if turn + 1 < MOST_MOVES:
                d = np.float32(way * width[i])
                for k in range(count):
                    ex[k] += d * jacobian[i, 0, k]
                    ey[k] += d * jacobian[i, 1, k]
                _costs(ex, ey, jacobian, width, inverse, share, costs)
        gain = 8.0 * fewer - cost
        if now <= limit and gain > best_gain:
            best_gain = gain
            best[:] = trial
    values[:] = best
