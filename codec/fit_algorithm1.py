"""Algorithm 1 of HeadGAN's Appendix A, as printed: one frame, no prior, no session.

Dense 3D points are aligned to the mean by Procrustes; the pseudo-inverse of [U_id, U_exp] gives the coefficients and so the
shape; the least-squares affine camera from that shape to the picture gives scale, rotation and translation. ``Fitter``
is what is used live; this is the paper's own, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import FaceModel, euler_angles
from codec.fit_pose import affine_camera, decompose
from codec.parameters import Camera, Floats, FrameParameters

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class OneFrameFit:
    """Algorithm 1's answer: identity (K,) float32 = p_id, and parameters with p_exp and the camera of Eq. 1."""

    identity: Floats
    parameters: FrameParameters


def procrustes(points: NDArray[Any], onto: NDArray[Any]) -> Matrix:
    """(N, 3) turned, scaled and moved onto (N, 3) with the least squared distance (Umeyama 1991)."""
    centre, target = points.mean(axis=0), onto.mean(axis=0)
    moved, goal = points - centre, onto - target
    u, s, vt = np.linalg.svd(goal.T @ moved)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    scale = (s * flip).sum() / max(float((moved**2).sum()), 1e-12)
    aligned: Matrix = scale * moved @ ((u * flip) @ vt).T + target
    return aligned


@lru_cache(maxsize=2)
def _pseudo_inverse(model: FaceModel) -> Matrix:
    basis = np.concatenate((model.identity_basis, model.expression_basis)).reshape(-1, model.mean.size)
    inverse: Matrix = np.linalg.pinv(basis.astype(np.float64).T)
    return inverse


def algorithm1(model: FaceModel, landmarks: NDArray[Any]) -> OneFrameFit:
    """(478, 3) landmarks, x and y in pixels, z scaled like x -> the fit of this frame alone.

    Raises ValueError unless all landmarks are finite and of that shape.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != model.mean.shape or not np.isfinite(points).all():
        raise ValueError(f"Algorithm 1 wants {len(model.mean)} finite points in 3D")
    aligned = procrustes(points, model.mean.astype(np.float64))
    coefficients = _pseudo_inverse(model) @ (aligned - model.mean).ravel()
    identity = coefficients[: model.identities].astype(np.float32)
    expression = coefficients[model.identities :].astype(np.float32)
    shape = model.shape(identity, expression).astype(np.float64)
    middle, centre = shape.mean(axis=0), points[:, :2].mean(axis=0)
    share = np.full(len(shape), 1.0 / len(shape))
    scale, rotation = decompose(affine_camera(points[:, :2] - centre, shape - middle, share))
    x, y = centre - scale * (rotation @ middle)[:2]
    camera = Camera(scale, euler_angles(rotation).astype(np.float32), np.array([x, y, 0.0], np.float32))
    return OneFrameFit(identity, FrameParameters(expression, camera))
