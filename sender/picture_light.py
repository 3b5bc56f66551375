"""In which light the viewer should see a photo: by how much brighter, a colour, the camera sees the scene by now."""

from __future__ import annotations

from typing import Any

import numpy as np

from codec.light import MOST, STEP, light_message
from codec.parameters import Picture
from models.warp import Photo

LIGHT_S = 0.4
"""Seconds over which the light is smoothed."""

LIGHT_PAUSE_S = 0.24
"""Between two messages of the light."""

VISIBLE = 2
"""Gain, in 1/64, by which the viewer's light must be off for another to be sent."""

SIDE = 32
"""Of the pictures that the light is measured on."""


class PictureLight:
    """Follows the light from frame to frame. Not thread-safe."""

    def __init__(self) -> None:
        self._of = -1
        self._gains: Any = None
        self._sent_s = -1.0

    def learn(self, truth: Picture, painted: Picture, base: Photo, passed: float) -> None:
        """truth: the camera's picture as it is. painted: what the viewer sees, in the photo's own light. passed: s since the last."""
        found = gains(truth, painted)
        if self._of != base.reference.photo_id or self._gains is None:
            self._of, self._gains = base.reference.photo_id, np.array(base.reference.light, np.float64) / STEP
        self._gains += min(1.0, passed / LIGHT_S) * (found - self._gains)

    def another(self, base: Photo, time_s: float) -> list[bytes]:
        """The message of another light, where the viewer's is off enough to be seen and none was sent just now."""
        if self._gains is None or self._of != base.reference.photo_id or time_s - self._sent_s < LIGHT_PAUSE_S:
            return []
        red, green, blue = (int(np.clip(round(g * STEP), -MOST, MOST)) for g in self._gains)
        away = max(abs(a - b) for a, b in zip((red, green, blue), base.reference.light, strict=True))
        if away < VISIBLE:
            return []
        self._sent_s = time_s
        return [light_message(base.reference.photo_id, (red, green, blue))]


def gains(truth: Picture, shown: Picture) -> Any:
    """(3,) by how much more light a picture has than another, a colour, over what is alike."""
    import cv2

    a, b = (
        cv2.resize(x, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1, 3)
        for x in (truth, shown)
    )
    gain = np.ones(3)
    for _ in range(4):
        off = np.abs(a - gain * b).max(1)
        weight = (1 / (1 + (off / 8) ** 2) * (a.max(1) < 245))[:, None]
        gain = (weight * a).sum(0) / np.maximum((weight * b).sum(0), 1.0)
    return gain - 1
