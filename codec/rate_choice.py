"""The sender's freedom: which integers to send, weighing bits against the error that is seen.

``choose`` takes the numbers one after the other and weighs the nearest integers and 0 by bits + trade * square error of z.
``refine`` then looks at the mesh itself: it moves single numbers by one where that lowers bits + trade * sum over points of
``phi(square error)``, phi growing steeply beyond a bound, so that the worst points are spared. None of this is in the format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from codec.entropy import MAXIMUM
from codec.frame_syntax import CAP, START, class_of, length_of


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def choose(
    wanted: Any, width: Any, base: Any, shift: Any, lengths: Any, weight: Any, expected: Any, trade: float, values: Any,
    classes: Any,
) -> float:  # fmt: skip
    """Fill values (N,) int64, so that values * width is near wanted (N,) pixels, and classes (N,); returns bits."""
    a, x, bits = START, START, 0.0
    for i in range(len(values)):
        number = class_of(base[i], shift, a, x)
        classes[i] = number
        exact = min(max(wanted[i] / width[i], -float(MAXIMUM)), float(MAXIMUM))
        low = int(np.floor(exact))
        best, best_cost, best_bits = 0, 1e30, 0.0
        for k in range(3):
            v = low + k if k < 2 else 0
            if (k == 2 and abs(exact) > 1.6) or abs(v) > MAXIMUM:
                continue
            b = length_of(v, lengths[number])
            e = (v - exact) * width[i]
            cost = b + trade * e * e
            if cost < best_cost:
                best, best_cost, best_bits = v, cost, b
        values[i] = best
        bits += best_bits
        a = a - (a >> 3) + min(abs(best) * weight[base[i]], CAP)
        x = x - (x >> 3) + expected[base[i]]
    return bits


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def refine(
    wanted: Any,
    width: Any,
    classes: Any,
    lengths: Any,
    jacobian: Any,
    bound: float,
    trade: float,
    passes: int,
    values: Any,
) -> None:
    """Improve values (N,) by single steps. jacobian: (N, 2, V) float32, pixels of V points for a pixel of z."""
    count = jacobian.shape[2]
    ex = np.zeros(count, np.float32)
    ey = np.zeros(count, np.float32)
    for i in range(len(wanted)):
        d = np.float32(values[i] * width[i] - wanted[i])
        for n in range(count):
            ex[n] += d * jacobian[i, 0, n]
            ey[n] += d * jacobian[i, 1, n]
    inverse = np.float32(1.0 / (bound * bound))
    share = trade / count
    now = np.float32(0.0)
    for n in range(count):
        s = ex[n] * ex[n] + ey[n] * ey[n]
        r = s * inverse
        now += s * (np.float32(1.0) + r * r * r)
    for _ in range(passes):
        moved = False
        for i in range(len(wanted)):
            present = length_of(values[i], lengths[classes[i]])
            error = values[i] * width[i] - wanted[i]
            for direction in (1 if error < 0 else -1, -1 if error < 0 else 1):
                v = values[i] + direction
                if abs(v) > MAXIMUM:
                    continue
                b = length_of(v, lengths[classes[i]]) - present
                if b > 0 and abs(error + direction * width[i]) > abs(error) and abs(error) < 0.25 * width[i]:
                    continue
                d = np.float32(direction * width[i])
                then = np.float32(0.0)
                for n in range(count):
                    px = ex[n] + d * jacobian[i, 0, n]
                    py = ey[n] + d * jacobian[i, 1, n]
                    s = px * px + py * py
                    r = s * inverse
                    then += s * (np.float32(1.0) + r * r * r)
                if b + share * (then - now) < -1e-3:
                    for n in range(count):
                        ex[n] += d * jacobian[i, 0, n]
                        ey[n] += d * jacobian[i, 1, n]
                    values[i] = v
                    now = then
                    moved = True
                    break
        if not moved:
            break
