"""The 35 floats as integers and back: the only place where a float becomes bits.

34 of the numbers (28 expression, log scale, three rotations, and the translation over the scale) are taken as one vector u and
turned by a learned matrix, z = (u - mean) T. T whitens what is *seen*: |z1 - z2|^2 is the mean square distance between
the two projected meshes, in pixels of a face whose eye corners are 73.8 px apart (141 px high), with the lips, lids, irises and
outline weighted so that no point of the mesh errs more than another (a D-optimal design); within that freedom its columns are the
directions in which faces move most, in falling order. So one step serves all 34. They are learned by ``training/entropy.py`` and
shipped in ``data/parameter_tables.npz``. The 35th number, the perspective, is quantised by itself.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.entropy import CLASSES, FREQUENCY_BITS, TOKENS, Cumulative, code_lengths
from codec.errors import HeadwireError
from codec.parameters import EXPRESSION, PARAMETERS, SIZE, Floats

TABLES = Path(__file__).with_name("data") / "parameter_tables.npz"

SCALE = EXPRESSION
"""Index of the camera's scale among the 35."""

TURNED = PARAMETERS - 1
"""How many of the numbers the matrix takes: all but the perspective."""

UNIT = 256
"""Integers per pixel of z."""

PERSPECTIVE_UNIT = 256
"""Integers per unit of perspective."""

LIMIT = 131071
"""Largest magnitude of a quantised number."""

SCALE_ORIGIN = 80.0
"""The scale, pixels, whose logarithm counts as 0."""

FACE_SCALE = 73.8
"""Scale (pixels between the outer eye corners) at which a face is 141 px high: z is in pixels of such a face."""

CONTEXTS = 5
ROLES = 4
"""P: from a key. M: the middle of a bundle. Q: its quarters. I: from nothing."""

Integers = NDArray[np.int32]
Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tables:
    """What both ends must hold alike.

    mean (34,), turn (34, 34), back (34, 34) float64: z = (u - mean) turn, u = z back + mean. ladder: (CLASSES, TOKENS + 1).
    weight (CLASSES,) and expected (CLASSES,) int64: see ``parameter_codec``. frames (R,), gain (R,) in 1/64,
    lean (R,): what P is weighed against (``reconstruction``); drift (34,) in 1/64: how much of the movement goes on, where that
    is lean 2. step (R, ROLES) in UNITs, 0 where the role is not coded; base (R, ROLES, 35) class; shift (R, ROLES, CONTEXTS).
    For the sender alone, and not in the digest: trade (R,) bits that the square error of one step is worth, bound (R,) steps of
    error at a point of the mesh beyond which it is avoided.
    """

    mean: Vectors
    turn: Vectors
    back: Vectors
    ladder: Cumulative
    weight: NDArray[np.int64]
    expected: NDArray[np.int64]
    frames: NDArray[np.int64]
    gain: NDArray[np.int64]
    step: NDArray[np.int64]
    base: NDArray[np.int64]
    shift: NDArray[np.int64]
    lean: NDArray[np.int64]
    drift: NDArray[np.int64]
    names: tuple[str, ...] = ()
    trade: Vectors = field(default_factory=lambda: np.zeros(0))
    bound: Vectors = field(default_factory=lambda: np.zeros(0))
    model_digest: str = ""

    @cached_property
    def lengths(self) -> NDArray[np.float32]:
        """(CLASSES, TOKENS) float32: bits of each token."""
        return code_lengths(self.ladder)

    @cached_property
    def digest(self) -> bytes:
        """(8 bytes) what both ends compare to know that they hold the same tables."""
        integers = (
            self.ladder,
            self.weight,
            self.expected,
            self.frames,
            self.gain,
            self.step,
            self.base,
            self.shift,
            self.lean,
            self.drift,
        )
        parts = [a.astype(">i8").tobytes() for a in integers]
        parts += [a.astype(">f4").tobytes() for a in (self.mean, self.turn, self.back)]
        return hashlib.sha256(b"".join(parts)).digest()[:8]

    def rung(self, name: str) -> int:
        """Number of the rung of that name. Raises ValueError for none."""
        return self.names.index(name)

    def save(self, path: Path = TABLES) -> None:
        """Write them: floats as float32, the rest in the smallest integers that hold it."""
        np.savez_compressed(
            path,
            mean=self.mean.astype(np.float32),
            turn=self.turn.astype(np.float32),
            back=self.back.astype(np.float32),
            ladder=self.ladder.astype(np.uint16),
            weight=self.weight.astype(np.uint16),
            expected=self.expected.astype(np.uint16),
            frames=self.frames.astype(np.uint8),
            gain=self.gain.astype(np.uint8),
            step=self.step.astype(np.uint16),
            base=self.base.astype(np.uint8),
            shift=self.shift.astype(np.int8),
            lean=self.lean.astype(np.uint8),
            drift=self.drift.astype(np.uint8),
            trade=self.trade.astype(np.float32),
            bound=self.bound.astype(np.float32),
            names=np.array(self.names, np.str_),
            model_digest=np.array(self.model_digest, np.str_),
        )

    @staticmethod
    def load(path: Path | None = None) -> Tables:
        """The shipped tables, or those of a file. Raises HeadwireError where there are none."""
        return _load(path or TABLES)


_FLOATS = ("mean", "turn", "back", "trade", "bound")
_INTEGERS = ("ladder", "weight", "expected", "frames", "gain", "step", "base", "shift", "lean", "drift")


@lru_cache(maxsize=4)
def _load(path: Path) -> Tables:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name].astype(np.float64) for name in _FLOATS}
            arrays |= {name: np.ascontiguousarray(file[name], np.int64) for name in _INTEGERS}
            names = tuple(str(name) for name in file["names"])
            tables = Tables(**arrays, names=names, model_digest=str(file["model_digest"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise HeadwireError(f"no parameter tables at {path}: make them with `headwire train entropy`") from error
    check(tables)
    return tables


def check(tables: Tables) -> None:
    """Raises HeadwireError unless shapes agree and every distribution is one."""
    rungs = len(tables.frames)
    whole = 1 << FREQUENCY_BITS
    sound = (
        tables.turn.shape == tables.back.shape == (TURNED, TURNED)
        and tables.ladder.shape == (CLASSES, TOKENS + 1)
        and bool((np.diff(tables.ladder, axis=1) > 0).all())
        and bool((tables.ladder[:, 0] == 0).all() and (tables.ladder[:, -1] == whole).all())
        and tables.base.shape == (rungs, ROLES, PARAMETERS)
        and tables.shift.shape == (rungs, ROLES, CONTEXTS)
        and tables.step.shape == (rungs, ROLES)
        and tables.lean.shape == (rungs,)
        and tables.drift.shape == (TURNED,)
        and 0 < rungs <= 15
    )
    if not sound:
        raise HeadwireError("the parameter tables do not fit together: make them again with `headwire train entropy`")


def unturned(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """(..., 35) parameters -> (..., 34) u: expression, ln(scale / 80), rotation, (translation - 128) / scale."""
    v = np.asarray(vectors, np.float64)
    scale = np.maximum(v[..., SCALE], 1e-3)
    u = np.empty((*v.shape[:-1], TURNED))
    u[..., :SCALE] = v[..., :SCALE]
    u[..., SCALE] = np.log(scale / SCALE_ORIGIN)
    u[..., SCALE + 1 : SCALE + 4] = v[..., SCALE + 1 : SCALE + 4]
    u[..., SCALE + 4 :] = (v[..., SCALE + 4 : SCALE + 6] - SIZE / 2) / scale[..., None]
    return u


def to_z(vector: Floats, tables: Tables) -> Vectors:
    """(35,) floats -> (35,) float64: z in pixels, perspective in its own unit. Non-finite numbers become 0."""
    v = np.clip(np.nan_to_num(np.asarray(vector, np.float64), nan=0.0, posinf=1e6, neginf=-1e6), -1e6, 1e6)
    z = np.empty(PARAMETERS)
    z[:TURNED] = (unturned(v) - tables.mean) @ tables.turn
    z[TURNED] = v[TURNED] * (PERSPECTIVE_UNIT / UNIT)
    return z


def from_z(z: Vectors, tables: Tables) -> Floats:
    """Inverse of ``to_z``; finite for every finite z."""
    u = z[:TURNED] @ tables.back + tables.mean
    scale = SCALE_ORIGIN * np.exp(np.clip(u[SCALE], -6.0, 6.0))
    v = np.empty(PARAMETERS)
    v[: SCALE + 4] = u[: SCALE + 4]
    v[SCALE] = scale
    v[SCALE + 4 : SCALE + 6] = u[SCALE + 4 :] * scale + SIZE / 2
    v[TURNED] = z[TURNED] * (UNIT / PERSPECTIVE_UNIT)
    return v.astype(np.float32)


def quantise(vector: Floats) -> Integers:
    """(35,) floats -> (35,) int32 within +-LIMIT, 1/256 px fine. Out-of-range values saturate."""
    q: Integers = np.clip(np.rint(to_z(vector, Tables.load()) * UNIT), -LIMIT, LIMIT).astype(np.int32)
    return q


def dequantise(integers: NDArray[np.integer[Any]]) -> Floats:
    """(35,) integers -> (35,) float32."""
    return from_z(np.asarray(integers, np.float64) / UNIT, Tables.load())
