"""The 3D morphable face model: Eq. 1, and the camera that puts it into the picture.

    s = mean + U_id p_id + U_exp p_exp

on the 478 points of FaceMesh (468 of the skin, 10 of the two irises), learned by ``training/face_learning.py``. Unit: the
distance between the outer eye corners of the mean face is 1. x right, y down, z away from the viewer; the origin is the
centroid of the mean. Zero expression is a neutral face: mouth closed, eyes open, looking straight ahead.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.errors import HeadwireError, UsageError
from codec.parameters import EXPRESSION, Camera, Floats

POINTS = 478
SKIN = 468
DEFAULT = Path(__file__).with_name("data") / "face_model.npz"
MAXIMUM_IDENTITY = 256

Indices = NDArray[np.int32]


def _indices(text: str) -> Indices:
    return np.array(text.split(), np.int32)


# Closed loops are in order. "right" and "left" are the person's own: right is at small x in a frontal picture.
OUTER_LIPS = _indices("61 146 91 181 84 17 314 405 321 375 291 409 270 269 267 0 37 39 40 185")
INNER_LIPS = _indices("78 95 88 178 87 14 317 402 318 324 308 415 310 311 312 13 82 81 80 191")
RIGHT_EYELIDS = _indices("33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246")
LEFT_EYELIDS = _indices("263 249 390 373 374 380 381 382 362 398 384 385 386 387 388 466")
RIGHT_IRIS = _indices("468 469 470 471 472")
LEFT_IRIS = _indices("473 474 475 476 477")
IRISES = np.concatenate((RIGHT_IRIS, LEFT_IRIS))
RIGHT_BROW = _indices("70 63 105 66 107 55 65 52 53 46")
LEFT_BROW = _indices("300 293 334 296 336 285 295 282 283 276")
FACE_OVAL = _indices(
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 136 172 58 132 93 234"
    " 127 162 21 54 103 67 109"
)
OUTER_EYE_CORNERS = (33, 263)

GROUPS: dict[str, Indices] = {
    "outer_lips": OUTER_LIPS,
    "inner_lips": INNER_LIPS,
    "lips": np.concatenate((OUTER_LIPS, INNER_LIPS)),
    "right_eyelids": RIGHT_EYELIDS,
    "left_eyelids": LEFT_EYELIDS,
    "eyelids": np.concatenate((RIGHT_EYELIDS, LEFT_EYELIDS)),
    "right_iris": RIGHT_IRIS,
    "left_iris": LEFT_IRIS,
    "irises": IRISES,
    "right_brow": RIGHT_BROW,
    "left_brow": LEFT_BROW,
    "face_oval": FACE_OVAL,
}
"""Named groups of point indices."""


def rotation_matrix(rotation: ArrayLike) -> NDArray[np.float64]:
    """(3,) pitch, yaw, roll in radians -> (3, 3): Rz(roll) Rx(pitch) Ry(yaw).

    Positive pitch lowers the nose, positive yaw turns it to the left of the picture, positive roll turns the head
    clockwise as seen.
    """
    pitch, yaw, roll = np.asarray(rotation, np.float64)
    cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    return np.array(
        [
            [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
            [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
            [-cp * sy, sp, cp * cy],
        ]
    )


def euler_angles(matrix: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rotation -> (3,) pitch, yaw, roll in radians; undoes ``rotation_matrix`` for pitch within 90 degrees."""
    r = np.asarray(matrix, np.float64)
    pitch = np.arcsin(np.clip(r[2, 1], -1.0, 1.0))
    return np.array([pitch, np.arctan2(-r[2, 0], r[2, 2]), np.arctan2(-r[0, 1], r[1, 1])])


def project(vertices: Floats, camera: Camera) -> Floats:
    """(N, 3) model coordinates -> (N, 3) float32: x, y in pixels of the picture, depth in pixels, away.

    The formula is ``Camera``'s. Depth keeps the order of ``(R v)_z`` and is not divided.
    """
    turned = np.asarray(vertices, np.float32) @ rotation_matrix(camera.rotation).T.astype(np.float32)
    turned *= np.float32(camera.scale)
    perspective = float(camera.translation[2])
    if perspective != 0.0:
        divisor = np.maximum(1.0 + np.float32(perspective / max(camera.scale, 1e-6)) * turned[:, 2], np.float32(0.1))
        turned[:, :2] /= divisor[:, None]
    turned[:, :2] += np.asarray(camera.translation[:2], np.float32)
    return turned


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A linear face model with a fixed topology.

    mean: (N, 3) float32, the neutral mean face. identity_basis: (K, N, 3) float32 and expression_basis: (28, N, 3)
    float32, in model units per standard deviation, so that the coefficients p_id and p_exp of Eq. 1 have unit variance
    in training. triangles: (T, 3) int32. names: what each expression mode does. provenance: where the model comes from.
    """

    mean: Floats
    identity_basis: Floats
    expression_basis: Floats
    triangles: Indices
    names: tuple[str, ...] = ()
    provenance: str = ""
    groups: dict[str, Indices] = field(default_factory=lambda: GROUPS)

    @property
    def identities(self) -> int:
        """K, the length of ``identity``."""
        return len(self.identity_basis)

    @cached_property
    def _identity_flat(self) -> Floats:
        return np.ascontiguousarray(self.identity_basis.reshape(self.identities, -1))

    @cached_property
    def _expression_flat(self) -> Floats:
        return np.ascontiguousarray(self.expression_basis.reshape(len(self.expression_basis), -1))

    @cached_property
    def digest(self) -> bytes:
        """(8 bytes) what both ends compare to know that they hold the same model."""
        parts = (self.mean, self.identity_basis, self.expression_basis, self.triangles)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()[:8]

    @cached_property
    def eye_distance(self) -> float:
        """Distance between the outer eye corners of the mean face, model units."""
        right, left = OUTER_EYE_CORNERS
        return float(np.linalg.norm(self.mean[right] - self.mean[left]))

    def neutral(self, identity: ArrayLike) -> Floats:
        """(K,) -> (N, 3): the person's face without expression, ``mean + U_id p_id``."""
        p_id = np.asarray(identity, np.float32)
        return self.mean + (p_id @ self._identity_flat).reshape(self.mean.shape)

    def shape(self, identity: ArrayLike, expression: ArrayLike) -> Floats:
        """(K,), (28,) -> (N, 3): Eq. 1."""
        return self.express(self.neutral(identity), expression)

    def express(self, neutral: Floats, expression: ArrayLike) -> Floats:
        """(N, 3) of ``neutral``, (28,) -> (N, 3): Eq. 1 for a session, where the identity is fixed."""
        p_exp = np.asarray(expression, np.float32)
        return neutral + (p_exp @ self._expression_flat).reshape(neutral.shape)

    def project(self, vertices: Floats, camera: Camera) -> Floats:
        """See ``project``."""
        return project(vertices, camera)

    @staticmethod
    def load(path: Path | str | None = None) -> FaceModel:
        """The shipped model, or one from a file. Read once, then shared.

        Raises UsageError if there is no such file, HeadwireError if it is not a face model. Executes nothing of it.
        """
        return _load(Path(path or DEFAULT))

    def save(self, path: Path | str) -> None:
        """Write the model: mean float32, identity basis int8 with a scale by mode, expression basis float16."""
        scale = np.maximum(np.abs(self.identity_basis).max(axis=(1, 2)) / 127.0, 1e-12).astype(np.float32)
        arrays: dict[str, Any] = {
            "mean": self.mean,
            "identity_basis": np.round(self.identity_basis / scale[:, None, None]).astype(np.int8),
            "identity_scale": scale,
            "expression_basis": self.expression_basis.astype(np.float16),
            "triangles": self.triangles.astype(np.uint16),
            "names": np.array(self.names, np.str_),
            "provenance": np.array(self.provenance, np.str_),
        }
        np.savez_compressed(path, **arrays)


@lru_cache(maxsize=4)
def _load(path: Path) -> FaceModel:
    if not path.is_file():
        raise UsageError(f"no face model at {path}: train one with `headwire train face-model`")
    try:
        with np.load(path, allow_pickle=False) as file:
            model = FaceModel(
                file["mean"].astype(np.float32),
                file["identity_basis"].astype(np.float32) * file["identity_scale"].astype(np.float32)[:, None, None],
                file["expression_basis"].astype(np.float32),
                file["triangles"].astype(np.int32),
                tuple(str(name) for name in file["names"]),
                str(file["provenance"]),
            )
    except (ValueError, KeyError, IndexError, TypeError, OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise HeadwireError(f"{path} is not a Headwire face model: {error}") from error
    check(model, str(path))
    return model


def check(model: FaceModel, source: str) -> None:
    """Raises HeadwireError, naming ``source``, unless shapes agree, numbers are finite and indices are in range."""
    count = len(model.mean) if model.mean.ndim == 2 else 0
    sound = (
        model.mean.shape == (count, 3)
        and 3 <= count <= 200_000
        and model.identity_basis.ndim == 3
        and model.identity_basis.shape[1:] == (count, 3)
        and 1 <= model.identities <= MAXIMUM_IDENTITY
        and model.expression_basis.shape == (EXPRESSION, count, 3)
        and model.triangles.ndim == 2
        and model.triangles.shape[1] == 3
        and len(model.triangles) > 0
        and int(model.triangles.min()) >= 0
        and int(model.triangles.max()) < count
    )
    finite = all(bool(np.isfinite(a).all()) for a in (model.mean, model.identity_basis, model.expression_basis))
    if not (sound and finite):
        raise HeadwireError(f"{source} is not a sound face model: its arrays do not fit together or are not finite")
