"""Whether the background stands still: the viewer's picture painted both ways, each compared with the camera's."""

from __future__ import annotations

from typing import Any

import numpy as np

from codec.parameters import Floats, Picture
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from models.warp import Photo

STANDING_S = 1.0
"""Seconds over which it is judged whether the background stands still."""

CHANGED = 3
"""Grey values from which a still background is another than the one that goes with the head."""

STANDS = (0.9, 1.0)
"""A background stands still if it so has at most this share of the other's error, for that to be said, and to stay said."""

BUILT = (0.96, 1.0)
"""The same of how unlike the truth the picture is built: where layers win less than that, LPIPS is .003 worse for the cut edges."""

MOVES = 8.0
"""Grey values by which a background that stands still differs from the camera's, at most."""

AT_ONCE = 1.6
"""The same for it to be taken back by a picture sent for that alone."""

HALF, WINDOW = 128, (7, 7)


class LayerChoice:
    """Learns from frame to frame which is nearer to the truth. Not thread-safe; memory: the sender's copy of the viewer's.

    ``important``: as ``Warp.compared`` for the last frame, where the viewer's background stands; else None.
    """

    def __init__(self, memory: PhotoMemory, wanted: bool) -> None:
        """wanted: whether anything will be said of the background; persons are cut out only then."""
        self._memory = memory
        self._layers = wanted and memory.warp.keep_layers()
        self.important: Floats | None = None
        self.forget()
        self._away = 0.0
        self._built = np.zeros(2)

    def forget(self) -> None:
        """Another scene: what the backgrounds' errors were says nothing of it."""
        self._standing = np.zeros(2)

    def compare(
        self, picture: Picture, painted: Picture, frame: DrivingFrame, base: Photo, passed: float
    ) -> tuple[float, Picture]:
        """How unlike the truth what the viewer sees is, 0..1, and what that is; learns which of the two is nearer.

        picture: of the camera, in the base's light. painted: without layers. passed: s since the last frame.
        """
        warp, self.important = self._memory.warp, None
        plain = unlike(picture, painted)
        found = warp.compared(picture, painted, frame, base) if self._layers else None
        if found is None:
            return plain, painted
        layered, away, important = found
        here = np.abs(layered.astype(np.int16) - painted).max(2) >= CHANGED
        truth = picture[here].astype(np.int16)
        errors = np.array([np.abs(truth - x[here]).sum() for x in (painted, layered)], np.float64)
        share = min(1.0, passed / STANDING_S)
        self._standing += share * (errors - self._standing)
        self._away += share * (away - self._away)
        self.important = important if warp.still else None
        cut = unlike(picture, layered)
        self._built += share * ((plain, cut) - self._built)
        return (cut, layered) if warp.still else (plain, painted)

    @property
    def stands(self) -> bool:
        """Whether a background that stands still would be nearer to the truth."""
        plain, layered = self._standing
        said = self._memory.warp.still
        nearer = layered < plain * STANDS[said] and self._built[1] <= self._built[0] * BUILT[said]
        return bool(self._layers and nearer and self._away < MOVES)

    @property
    def wrong(self) -> bool:
        """Whether the viewer's background stands so wrongly that a picture is to be sent for that alone."""
        plain, layered = self._standing
        return bool(self._memory.warp.still and (layered > AT_ONCE * plain or self._away > AT_ONCE * MOVES))


def unlike(truth: Picture, shown: Picture) -> float:
    """How differently two pictures are built, 0..1: one minus the mean structural similarity at half the size."""
    import cv2

    def half(x: Picture) -> Any:
        small = cv2.resize(x, (HALF, HALF), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)

    a, b = half(truth), half(shown)
    ma, mb = cv2.blur(a, WINDOW), cv2.blur(b, WINDOW)
    va, vb, vab = (
        cv2.blur(a * a, WINDOW) - ma * ma,
        cv2.blur(b * b, WINDOW) - mb * mb,
        cv2.blur(a * b, WINDOW) - ma * mb,
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    same = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return float(1 - same.mean())
