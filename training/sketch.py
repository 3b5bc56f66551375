"""Landmark sketches, what the driving signal is without a face model (the ablation of Table 3).

Lines along lips, lids, irises, brows and the face's outline, each part in its own colour, from the driver's own
landmarks. As PNCC is drawn from a map of triangles, a sketch is drawn from a map of parts: -1 where there is no line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import GROUPS
from codec.parameters import SIZE, Floats

_PARTS = (
    ("face_oval", True),
    ("right_brow", False),
    ("left_brow", False),
    ("right_eyelids", True),
    ("left_eyelids", True),
    ("right_iris", False),
    ("left_iris", False),
    ("outer_lips", True),
    ("inner_lips", True),
)
_MIRRORED = (0, 2, 1, 4, 3, 6, 5, 7, 8)

COLOURS: Floats = np.array(
    [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 0.5, 0), (0.5, 0, 1)], np.float32
)
"""(9, 3): colour of each part."""

MIRRORED_COLOURS: Floats = COLOURS[list(_MIRRORED)]
"""(9, 3): colour of each part in a mirrored picture, where the right eye is the left one."""


def sketch(landmarks: Floats) -> NDArray[np.int16]:
    """(478, 2) pixels -> (256, 256) int16: which part's line each pixel shows, -1 where none; lines of 2 pixels."""
    import cv2

    canvas: NDArray[np.int16] = np.full((SIZE, SIZE), -1, np.int16)
    if not np.isfinite(landmarks).all():
        return canvas
    points = np.rint((landmarks[:, :2] - 0.5).clip(-4 * SIZE, 4 * SIZE) * 16).astype(np.int32)
    for part, (name, closed) in enumerate(_PARTS):
        line: Any = points[GROUPS[name]]
        cv2.polylines(canvas, [line], closed, (part,), 2, cv2.LINE_8, 4)
    return canvas
