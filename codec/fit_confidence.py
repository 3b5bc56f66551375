"""How sure a fit is, from 0 to 1: what the sender says of a frame, and the receiver holds or fades by.

Five signs, multiplied: the rms residual, the worst region's residual (a hand over the mouth bends the landmarks there
and nowhere else), expression out of the range of faces, a head turned so far that half the landmarks are guessed, and
a face that is mostly outside the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import FACE_OVAL, GROUPS
from codec.parameters import SIZE, Floats

_REGIONS = tuple(
    GROUPS[name] for name in ("lips", "right_eyelids", "left_eyelids", "right_brow", "left_brow", "face_oval")
)


def _fade(value: float, sure: float, hopeless: float) -> float:
    return float(np.clip((hopeless - value) / (hopeless - sure), 0.0, 1.0))


class Confidence:
    """Turns what the solver leaves of a frame into one number.

    Each pair is (where confidence begins to fall, where it is 0): residual and region residual in eye-corner distances,
    expression in rms standard deviations, turn in degrees away from the viewer, outside as a share of the face's oval.
    """

    residual = (0.008, 0.03)
    region = (0.015, 0.06)
    expression = (1.9, 4.0)
    turn = (50.0, 85.0)
    outside = (0.25, 0.8)

    def of(
        self, rms: float, code: Floats, rotation: NDArray[np.float64], work: Floats, y: Floats, pose: NDArray[Any]
    ) -> float:
        """rms: model units. code (28,), rotation (3, 3), pose (scale, x, y) of the fit, work: as the solver left it,
        y (3, N): the landmarks, pixels."""
        seen = (y[:2] - pose[1:3, None].astype(np.float32)) / np.float32(pose[0]) - work[3:5]
        squares = (seen * seen).sum(axis=0)
        worst = max(float(squares[region].mean()) for region in _REGIONS) ** 0.5
        angle = float(np.degrees(np.arccos(np.clip(rotation[2, 2], -1.0, 1.0))))
        oval = y[:2, FACE_OVAL]
        beyond = float(((oval < 0) | (oval > SIZE)).any(axis=0).mean())
        value = (
            _fade(rms, *self.residual)
            * _fade(worst, *self.region)
            * _fade(float(np.sqrt((code * code).mean())), *self.expression)
            * _fade(angle, *self.turn)
            * _fade(beyond, *self.outside)
        )
        return value if np.isfinite(value) else 0.0
