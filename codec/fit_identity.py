"""The identity of a session: p_id of Eq. 1 from many frames, as an information filter.

Each frame, once its camera and expression are fitted, is linearised about them; what it says of the identity *after* it
has been allowed to explain itself by camera and expression (the Schur complement) is a (K, K) matrix and a (K,) vector,
and these are summed. So nothing of the past is kept but the sum, and the identity is the solution of one small system
whenever it is wanted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.fit_solver import Modes, camera_block, camera_matrices, moments
from codec.parameters import Floats

Matrix = NDArray[np.float64]
CAMERA_UNKNOWNS = 6


class IdentityEstimate:
    """Information about the identity, from the frames seen so far.

    identity, expression: the modes as the solver has them. sigma: noise of a landmark, model units.
    frame_weight: how much of an independent observation one frame is (successive frames err alike).
    """

    def __init__(self, identity: Modes, expression: Modes, sigma: float, frame_weight: float) -> None:
        self.frames = 0
        self._sigma = sigma
        self._frame_weight = frame_weight
        self._identity = identity
        self._expression = expression
        size = len(identity.basis)
        self._own = identity.moments.reshape(size * size, 9)
        self._mixed = moments(identity.basis, expression.basis, identity.weight)
        self._flat = identity.basis.reshape(size, -1)
        self._weighted = np.ascontiguousarray((identity.basis * identity.weight).reshape(3 * size, -1))
        self._information = np.zeros((size, size))
        self._vector = np.zeros(size)

    def restart(self) -> None:
        """Forget all frames: another person."""
        self.frames = 0
        self._information[:] = 0.0
        self._vector[:] = 0.0

    def add(
        self,
        identity: Floats,
        code: Floats,
        rotation: Matrix,
        depth: float,
        neutral_moments: Floats,
        gradient: Floats,
        work: Floats,
    ) -> None:
        """Take in a fitted frame.

        identity (K,), code (28,), rotation (3, 3), depth: the fit and the weight of z in it. neutral_moments: see
        ``fit_solver.solve``. gradient (34,) and work: what ``fit_solver.evaluate`` gives at the fit.
        """
        size, count = len(code), len(identity)
        r = rotation.astype(np.float32)
        c = camera_matrices(r, np.float32(depth))
        shape, weight = work[:3], self._identity.weight
        total = size + CAMERA_UNKNOWNS
        small = np.zeros((total, total), np.float32)
        camera_block(r, np.float32(depth), (shape * weight) @ shape.T, shape @ weight, weight.sum(), small, size)
        frame = np.tril(small).astype(np.float64)
        frame[:size, :size] = (self._expression.moments.reshape(-1, 9) @ c[0].ravel()).reshape(size, size)
        frame[range(size), range(size)] += self._expression.ridge
        mixed = neutral_moments + np.einsum("b,abij->aij", code, self._expression.moments)
        frame[size : size + 4, :size] = c[1:5].reshape(4, 9) @ mixed.reshape(size, 9).T
        frame[size + 4 :, :size] = c[5:, 0] @ self._expression.sums.T
        frame = np.tril(frame) + np.tril(frame, -1).T
        across = np.empty((count, total))
        across[:, :size] = (self._mixed.reshape(-1, 9) @ c[0].ravel()).reshape(count, size)
        across[:, size : size + 4] = (self._weighted @ shape.T).reshape(count, 9) @ c[1:5].reshape(4, 9).T
        across[:, size + 4 :] = self._identity.sums @ c[5:, 0].T
        own = (self._own @ c[0].ravel()).reshape(count, count)
        reduced = np.linalg.solve(frame, across.T).T
        schur = own - reduced @ across.T
        pull = gradient.astype(np.float64)
        pull[:size] -= self._expression.ridge * code
        self._information += schur
        self._vector += schur @ identity + self._flat @ work[6:9].reshape(-1) - reduced @ pull
        self.frames += 1

    def solve(self) -> Floats:
        """(K,) float32: the most likely identity, with a unit normal prior."""
        share = self._frame_weight
        matrix = share * self._information + self._sigma**2 * np.eye(len(self._vector))
        return np.asarray(np.linalg.solve(matrix, share * self._vector), np.float32)
