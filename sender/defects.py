"""What is lastingly wrong with the viewer's picture in one place: an object that is gone, or has come, since the photo was taken.

A hand that passed while a photo was taken would stay in the picture until the next, because the picture's mean error hardly shows
it. Here the difference is averaged over blocks of the picture, with its sign, and over time: what moves is averaged away, edges that
lie a pixel off cancel out within a block, and what has the wrong colour for long stands out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codec.parameters import SIZE, Picture
from codec.photo_update import Rectangle

BLOCK = 8
"""Side of a block, px."""

LASTING_S = 0.4
"""Seconds over which the difference is averaged."""

WRONG = 40.0
"""Grey values, of the colour that is farthest off, from which a block is wrong."""

WORTH = 500.0
"""Grey values beyond that, summed over neighbouring blocks, from which a place is worth its bytes."""

ALONE = 0.7
"""Share of all that is wrong which lies in that place, at least: where the rest is wrong, too, a photo is wanted."""

LARGEST = 0.35
"""Share of the picture that a place takes, at most: where more is wrong a photo is wanted."""


@dataclass(frozen=True)
class Defect:
    """A place that is to be brought anew. wrong: grey values beyond ``WRONG``, summed over its blocks."""

    box: Rectangle
    wrong: float


class Defects:
    """Follows the difference from frame to frame. Not thread-safe."""

    def __init__(self) -> None:
        self._of: Picture | None = None
        self._off: Any = None

    def learn(self, truth: Picture, shown: Picture, photo: Picture, passed: float) -> None:
        """truth: of the camera, in the light of what is shown. photo: that it is painted from. passed: s since the last frame."""
        import cv2

        side = SIZE // BLOCK
        a, b = (cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) for x in (truth, shown))
        if photo is not self._of:
            self._of, self._off = photo, np.zeros((side, side, 3), np.float32)
        self._off += min(1.0, passed / LASTING_S) * (a - b - self._off)

    def worst(self) -> Defect | None:
        """Where a part of the picture is to be brought anew; None where nothing is worth it."""
        import cv2

        if self._off is None:
            return None
        excess = np.maximum(np.abs(self._off).max(2) - WRONG, 0)
        wrong = np.asarray(excess > 0, np.uint8)
        count, places = cv2.connectedComponents(wrong, connectivity=8)
        sums = [float(excess[places == n].sum()) for n in range(1, count)]
        if not sums or max(sums) < max(WORTH, ALONE * sum(sums)):
            return None
        rows, columns = np.nonzero(places == 1 + int(np.argmax(sums)))
        side = SIZE // BLOCK
        top, bottom = max(0, int(rows.min()) - 1), min(side, int(rows.max()) + 2)
        left, right = max(0, int(columns.min()) - 1), min(side, int(columns.max()) + 2)
        if (bottom - top) * (right - left) > LARGEST * side * side:
            return None
        box = Rectangle(BLOCK * left, BLOCK * top, BLOCK * (right - left), BLOCK * (bottom - top))
        return Defect(box, max(sums))


def feather(box: Rectangle) -> Any:
    """(256, 256, 1) float32, 0..1: the place, with soft edges within the box but where it meets the picture's."""
    import cv2

    inside = np.zeros((SIZE + 2 * BLOCK, SIZE + 2 * BLOCK), np.float32)
    grown = [
        b if 0 < b < SIZE else b + (BLOCK if b else -BLOCK)
        for b in (box.left, box.top, box.left + box.width, box.top + box.height)
    ]
    left, top, right, bottom = (b + BLOCK for b in grown)
    inside[top + BLOCK // 2 : bottom - BLOCK // 2, left + BLOCK // 2 : right - BLOCK // 2] = 1
    return cv2.blur(inside, (BLOCK, BLOCK))[BLOCK:-BLOCK, BLOCK:-BLOCK, None]
