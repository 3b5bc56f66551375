"""A first pose from landmarks, without any earlier frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.parameters import Floats

Matrix = NDArray[np.float64]


def affine_camera(seen: NDArray[Any], model: NDArray[Any], share: NDArray[Any]) -> Matrix:
    """(2, 3): the least-squares linear map of centred model points (N, 3) to centred picture points (N, 2)."""
    weighted = model * share[:, None]
    normal = weighted.T @ model
    affine: Matrix = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(3), weighted.T @ seen).T
    return affine


def decompose(affine: Matrix) -> tuple[float, Matrix]:
    """(2, 3) affine camera -> scale and the nearest rotation (3, 3)."""
    first, second = float(np.linalg.norm(affine[0])), float(np.linalg.norm(affine[1]))
    scale = float(np.sqrt(max(first * second, 1e-18)))
    rows = np.vstack((affine / scale, np.cross(affine[0], affine[1])[None] / scale**2))
    u, _, vt = np.linalg.svd(rows)
    return scale, u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0]) @ vt


def first_pose(y: Floats, weight: Floats, neutral: Floats, depth: bool) -> tuple[Matrix, NDArray[np.float64]] | None:
    """Rotation (3, 3) and (scale, x, y), by a similarity in 3D where there is depth, else by the affine camera.

    y (3, N) pixels; weight (N,); neutral (N, 3). None if the points lie on top of each other.
    """
    share = (weight / weight.sum()).astype(np.float64)
    middle = share @ neutral.astype(np.float64)
    model = neutral.astype(np.float64) - middle
    seen = y.T.astype(np.float64)
    centre = share @ seen
    seen = seen - centre
    if not 1.0 < np.sqrt(share @ (seen[:, :2] ** 2).sum(axis=1)) < 1e4:
        return None
    if depth:
        u, s, vt = np.linalg.svd((seen * share[:, None]).T @ model)
        flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
        rotation = (u * flip) @ vt
        scale = float((s * flip).sum() / (share @ (model**2).sum(axis=1)))
    else:
        scale, rotation = decompose(affine_camera(seen[:, :2], model, share))
    if not np.isfinite(scale) or scale < 1.0:
        return None
    offset = centre[:2] - scale * (rotation @ middle)[:2]
    return np.ascontiguousarray(rotation), np.array([scale, offset[0], offset[1]])
