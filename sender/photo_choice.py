"""From which photo a frame is painted: another one takes over where it explains the camera's picture clearly better."""

from __future__ import annotations

from codec.light import unlit
from codec.parameters import Picture, Region
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from sender.motion import Explained, MotionEncoder

TRIED_EVERY = 3
"""Frames from one try of another photo to the next, in quiet: a dense flow is dear."""

PRESSING, LEARNING = 1.05, 1 / 8
"""How many times what is usual a frame's unexplained rest must be for another photo to be tried at once; what the newest counts."""


class PhotoChoice:
    """Tries the photos of a memory in turn. Not thread-safe. memory: the sender's copy of the viewer's."""

    def __init__(self, memory: PhotoMemory, hysteresis: float) -> None:
        """hysteresis: share by which another photo must be better."""
        self._warp = memory.warp
        self._hysteresis = hysteresis
        self._try = MotionEncoder()
        self._calls = self._turn = 0
        self._usual = 0.0

    def better(self, picture: Picture, frame: DrivingFrame, explained: Explained) -> int | None:
        """The id of another whole photo that explains a frame clearly better than the one it is painted from; else None.

        One other photo is tried with every third call, or with each where the present one explains less than it did, in turn, by the
        dense flow from what it would show. picture: of the camera, as it is. explained: by the present one.
        """
        now = float(explained.error.mean())
        self._usual += (now - self._usual) * LEARNING
        self._calls += 1
        if self._calls % TRIED_EVERY and now < PRESSING * self._usual:
            return None
        present = self._warp.source(frame).reference.photo_id
        others = [i for i, p in self._warp.photos.items() if p.reference.region is Region.WHOLE and i != present]
        if not others:
            return None
        other = others[self._turn % len(others)]
        self._turn += 1
        photo = self._warp.photos[other].reference
        flow = self._warp.flow(frame, other)
        error = self._try.unexplained(photo.picture, unlit(picture, photo.light), flow)
        return other if error < (1 - self._hysteresis) * now else None
