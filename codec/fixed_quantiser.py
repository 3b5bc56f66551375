"""The 35 floats as integers of fixed steps and back: for what is sent once, such as the fit of a photo.

``q = round(v / step)`` for all but the scale, which is quantised by its logarithm, so that a step is the same
fraction of the face whatever its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.parameters import EXPRESSION, Floats

SCALE = EXPRESSION
"""Index of the camera's scale among the 35."""

Integers = NDArray[np.int32]

STEPS: Floats = np.array([1 / 32] * EXPRESSION + [1 / 1024] + [1 / 512] * 3 + [1 / 8, 1 / 8, 1 / 512], np.float32)
"""(35,) step of each number: modes in standard deviations, log scale, radians, pixels, perspective."""

LIMIT = 32767
"""Largest magnitude of a quantised number."""

_LOG_ORIGIN = float(np.log(100.0))


def quantise(vector: Floats) -> Integers:
    """(35,) floats -> (35,) int32 within +-LIMIT. Out-of-range values saturate; non-finite ones become 0."""
    v = np.nan_to_num(np.asarray(vector, np.float64), nan=0.0, posinf=1e6, neginf=-1e6)
    v[SCALE] = np.log(max(v[SCALE], 1e-3)) - _LOG_ORIGIN
    q: Integers = np.clip(np.rint(v / STEPS), -LIMIT, LIMIT).astype(np.int32)
    return q


def dequantise(integers: Integers) -> Floats:
    """(35,) int32 -> (35,) float32."""
    v = integers.astype(np.float64) * STEPS
    v[SCALE] = np.exp(np.clip(v[SCALE], -8.0, 8.0) + _LOG_ORIGIN)
    return v.astype(np.float32)
