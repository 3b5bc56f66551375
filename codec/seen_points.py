"""How the picture moves with z: the derivative of chosen points of the mesh, for the sender's choice of integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.face_model import FACE_OVAL, GROUPS, FaceModel, rotation_matrix
from codec.parameters import EXPRESSION, SIZE, Floats
from codec.quantiser import FACE_SCALE, SCALE, TURNED, Tables

STRIDE = 5
"""One in so many of the points that are in no group is taken too."""


def seen_indices(model: FaceModel) -> NDArray[np.int64]:
    """Lips, lids, irises and outline."""
    groups = (GROUPS["lips"], GROUPS["eyelids"], GROUPS["irises"], FACE_OVAL)
    return np.unique(np.concatenate(groups)).astype(np.int64)


class SeenPoints:
    """The points of one person's face that the sender looks at. neutral: (N, 3), ``FaceModel.neutral`` of the session."""

    def __init__(self, model: FaceModel, neutral: Floats, tables: Tables | None = None) -> None:
        self.tables = tables or Tables.load()
        rest = np.setdiff1d(np.arange(len(model.mean)), seen_indices(model))
        chosen = np.concatenate((seen_indices(model), rest[::STRIDE]))
        self._neutral = np.ascontiguousarray(neutral[chosen].T, np.float32)
        basis = model.expression_basis[:, chosen].transpose(0, 2, 1)
        self._basis = np.ascontiguousarray(basis, np.float32)
        self._back = self.tables.back.astype(np.float32)

    def jacobian(self, vector: Floats) -> Floats:
        """(34, 2, V) float32: pixels (of a face of FACE_SCALE) that each point moves for one pixel of each z."""
        count = self._neutral.shape[1]
        pitch, yaw, roll = (float(a) for a in vector[SCALE + 1 : SCALE + 4])
        turn = rotation_matrix((pitch, yaw, roll)).astype(np.float32)
        shape = self._neutral + np.tensordot(np.asarray(vector[:EXPRESSION], np.float32), self._basis, 1)
        turned = turn @ shape
        scale = max(float(vector[SCALE]), 1e-3)
        shift = (np.asarray(vector[SCALE + 4 : SCALE + 6], np.float32) - SIZE / 2) / scale
        u = np.zeros((TURNED, 2, count), np.float32)
        flat = self._basis.transpose(1, 0, 2).reshape(3, -1)
        u[:SCALE] = (turn[:2] @ flat).reshape(2, SCALE, count).transpose(1, 0, 2)
        u[SCALE] = turned[:2] + shift[:, None]
        h = 1e-3
        for k, angles in enumerate(((pitch + h, yaw, roll), (pitch, yaw + h, roll))):
            u[SCALE + 1 + k] = (rotation_matrix(angles).astype(np.float32)[:2] - turn[:2]) @ shape / np.float32(h)
        u[SCALE + 3, 0], u[SCALE + 3, 1] = -turned[1], turned[0]
        u[SCALE + 4, 0] = 1.0
        u[SCALE + 5, 1] = 1.0
        out = self._back @ u.reshape(TURNED, -1) * np.float32(FACE_SCALE)
        return np.ascontiguousarray(out.reshape(TURNED, 2, count))

    def project(self, vector: Floats) -> Floats:
        """(2, V) float32: where the points are, pixels of the picture."""
        shape = self._neutral + np.tensordot(np.asarray(vector[:EXPRESSION], np.float32), self._basis, 1)
        turned = rotation_matrix(vector[SCALE + 1 : SCALE + 4]).astype(np.float32)[:2] @ shape
        return np.asarray(vector[SCALE] * turned + np.asarray(vector[SCALE + 4 : SCALE + 6])[:, None], np.float32)
