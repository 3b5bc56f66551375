"""The identity of a session: p_id of Eq. 1 from many frames, as an information filter.

Each frame, once its camera and expression are fitted, is linearised about them; what it says of the identity *after* it has been
allowed to explain itself by camera and expression (the Schur complement) is a (K, K) matrix and a (K,) vector, and these are
summed. So nothing of the past is kept but the sum, and the identity is the solution of one small system whenever it is wanted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.face_model import FaceModel
from codec.fit_solver import PAIRS, RIGID, gram, planes
from codec.parameters import Floats

Matrix = NDArray[np.float64]


class IdentityEstimate:
    """Information about the identity, from the frames seen so far.

    model: the face model. weight: (N,) float32 of the points. sigma: noise of a landmark, model units.
    frame_weight: how much of an independent observation one frame is (successive frames err alike).
    """

    def __init__(self, model: FaceModel, weight: Floats, sigma: float, frame_weight: float) -> None:
        self.frames = 0
        self._sigma = sigma
        self._frame_weight = frame_weight
        self._flat = planes(model.identity_basis).reshape(model.identities, -1)
        self._gram_identity = gram(model.identity_basis, model.identity_basis, weight)
        self._gram_mixed = gram(model.identity_basis, model.expression_basis, weight)
        self._gram_expression = gram(model.expression_basis, model.expression_basis, weight)
        self._information = np.zeros((model.identities, model.identities))
        self._vector = np.zeros(model.identities)

    def add(
        self,
        identity: Floats,
        work: Floats,
        weight: Floats,
        rotation: Matrix,
        perspective: float,
        depth_weight: float,
        ridge: Floats,
        cross: Floats,
        coefficients: Floats,
    ) -> None:
        """Take in a fitted frame.

        identity: (K,) it was fitted with. work: what ``fit_solver.evaluate`` left at the solution. rotation (3, 3),
        perspective, depth_weight, ridge (28,): as in the fit. cross: (28, 3N) the flat expression basis. coefficients: (28,) the
        fitted expression.
        """
        turned = work[:3]
        divide = 1.0 / np.maximum(1.0 + perspective * turned[2], 0.25)
        mean_divide = float(weight @ (divide * divide) / max(float(weight.sum()), 1e-9))
        seen = np.diag([mean_divide, mean_divide, depth_weight])
        metric = rotation.T @ seen @ rotation
        m = np.array([metric[a, b] for a, b in PAIRS])
        size = len(ridge)
        camera = work[9:].reshape(RIGID, -1)
        frame = np.empty((size + RIGID, size + RIGID))
        frame[:size, :size] = np.tensordot(m, self._gram_expression, 1) + np.diag(ridge)
        frame[size:, :size] = camera @ cross.T
        frame[:size, size:] = frame[size:, :size].T
        rows = _camera_rows(turned, divide, perspective)
        frame[size:, size:] = sum(
            (row * (weight * share)) @ row.T for row, share in zip(rows, (1.0, 1.0, depth_weight), strict=True)
        )
        frame[range(size, size + RIGID), range(size, size + RIGID)] *= 1.0 + 1e-6
        mixed = np.empty((len(self._flat), size + RIGID))
        mixed[:, :size] = np.tensordot(m, self._gram_mixed, 1)
        mixed[:, size:] = self._flat @ camera.T
        own = np.tensordot(m, self._gram_identity, 1)
        reduce = np.linalg.solve(frame, mixed.T).T
        schur = own - reduce @ mixed.T
        turned_residual = work[3:6].astype(np.float64)
        pull = np.concatenate((cross @ work[6:9].reshape(-1) - ridge * coefficients, _camera_gradient(rows, turned_residual)))
        gradient = self._flat @ work[6:9].reshape(-1) - reduce @ pull
        self._information += schur
        self._vector += schur @ identity + gradient
        self.frames += 1

    def solve(self) -> Floats:
        """(K,) float32: the most likely identity, with a unit normal prior."""
        weight = self._frame_weight
        matrix = weight * self._information + self._sigma**2 * np.eye(len(self._vector))
        return np.asarray(np.linalg.solve(matrix, weight * self._vector), np.float32)


def _camera_rows(turned: Floats, divide: Floats, perspective: float) -> tuple[Matrix, Matrix, Matrix]:
    """Jacobian of x, y and depth by the six camera unknowns, (6, N) each."""
    t0, t1, t2 = turned.astype(np.float64)
    x0, x1 = t0 * divide, t1 * divide
    q = perspective * divide
    zero, one = np.zeros_like(t0), np.ones_like(t0)
    return (
        np.stack((x0, -x0 * q * t1, t2 * divide + x0 * q * t0, -t1 * divide, one, zero)),
        np.stack((x1, -t2 * divide - x1 * q * t1, x1 * q * t0, t0 * divide, zero, one)),
        np.stack((t2, t1, -t0, zero, zero, zero)),
    )


def _camera_gradient(rows: tuple[Matrix, Matrix, Matrix], residual: Matrix) -> Matrix:
    gradient: Matrix = sum((row @ e for row, e in zip(rows, residual, strict=True)), np.zeros(RIGID))
    return gradient
