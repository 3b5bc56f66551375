"""Short cross-fades: when a frame comes from other pictures of the memory than the one before, nothing pops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from codec.motion import MotionField
from codec.parameters import Picture

FRAMES = 2
"""In which the old pictures are still to be seen."""


class Fading:
    """Remembers what frames were painted from. Not thread-safe; frames are painted in order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """What comes next has nothing to do with what was."""
        self._last: MotionField | None = None
        self._old: MotionField | None = None
        self._left = 0

    def mix(self, field: MotionField | None, picture: Picture, paint: Callable[[MotionField], Picture]) -> Picture:
        """The picture to show of a frame that has this field. picture: by the field itself. paint: paints it by another."""
        if field is None:
            self.reset()
            return picture
        last, self._last = self._last, field
        if last is not None and _sources(last) != _sources(field):
            self._old, self._left = last, FRAMES
        if self._left == 0 or self._old is None:
            return picture
        old = self._old
        if old.photo_id == field.photo_id:
            old = replace(field, mouth=old.mouth, eyes=old.eyes)
        share = np.float32(self._left / (FRAMES + 1))
        self._left -= 1
        return np.rint(picture + share * (paint(old).astype(np.float32) - picture)).astype(np.uint8)


def _sources(field: MotionField) -> tuple[int, int, int]:
    return field.photo_id, field.mouth, field.eyes
