"""Movements of the face (Ekman's action units) read off the face model: ``au_mesh_hamming``, a stand-in for AU-H.

AU-H wants a trained detector of action units (``bench.canonical``). Here a unit is a distance between points of the mesh, in
the head's own axes; it is a linear function of the 28 expression numbers. It is present where it exceeds its mean by a
standard deviation, which the face model knows: its numbers have unit variance.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.face_model import FaceModel

_ACROSS, _DOWN = 0, 1
_NOSE = (168,)
"""Its root, which no expression moves much."""

UNITS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int]] = {
    "inner brows raised": ((55, 285), _NOSE, _DOWN, -1),
    "outer brows raised": ((70, 300), _NOSE, _DOWN, -1),
    "brows drawn together": ((285,), (55,), _ACROSS, -1),
    "upper lids raised": ((159, 386), (133, 362), _DOWN, -1),
    "eyes closed": ((145, 374), (159, 386), _DOWN, -1),
    "cheeks raised": ((205, 425), _NOSE, _DOWN, -1),
    "nose wrinkled": ((129, 358), _NOSE, _DOWN, -1),
    "upper lip raised": ((0,), _NOSE, _DOWN, -1),
    "corners of the mouth raised": ((61, 291), (0, 17), _DOWN, -1),
    "corners of the mouth lowered": ((61, 291), (0, 17), _DOWN, 1),
    "mouth puckered": ((291,), (61,), _ACROSS, -1),
    "mouth stretched": ((291,), (61,), _ACROSS, 1),
    "lips parted": ((14,), (13,), _DOWN, 1),
    "jaw dropped": ((152,), _NOSE, _DOWN, 1),
}
"""Name -> points, points from which they are measured (means of both), axis, sign of the movement."""


def present(expressions: ArrayLike) -> NDArray[np.bool_]:
    """(..., 28) p_exp -> (..., 14): which of ``UNITS`` a face shows."""
    return np.asarray(np.asarray(expressions, np.float64) @ _weights().T > 1)


def hamming(one: ArrayLike, other: ArrayLike) -> float:
    """Share of the units in which two (28,) p_exp differ, 0..1."""
    return float((present(one) != present(other)).mean())


@cache
def _weights() -> NDArray[np.float64]:
    """(14, 28): each unit in its standard deviations, by expression number."""
    basis = FaceModel.load().expression_basis.astype(np.float64)
    rows = np.stack(
        [
            sign * (basis[:, list(points), axis].mean(1) - basis[:, list(origin), axis].mean(1))
            for points, origin, axis, sign in UNITS.values()
        ]
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
