"""A camera's frame -> the 256x256 picture around the face, its window and its landmarks: one call per frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.parameters import Floats, Picture, Window
from sender.crop import FaceCropper, Square, cut
from sender.landmarks import MESH, FaceBox, Landmarker

PATIENCE = 25
"""Frames without a face in the square after which the whole frame is searched ..."""
SEARCH_EVERY = 8
"""... every so many frames, which bounds what a missing face costs."""
JUMP = 0.5
"""A mesh that moved or grew by more than this part of its height within one frame may be another person."""


@dataclass(frozen=True)
class Tracked:
    """What is known of a frame. picture: (256, 256, 3) uint8. window: where it lies. square: the same in the frame.

    landmarks: (478, 3) float32 in pixels of the picture; ``None``: no face, hold the last one.
    """

    picture: Picture
    window: Window
    square: Square
    landmarks: Floats | None


class FaceTracker:
    """Finds the largest face, locks on to it, and finds it again. ``send``, ``encode`` and ``fit`` use this alike.

    crop: "auto" follows the face; "none" takes square pictures as they are. Before the first face was found the picture
    is the middle of the frame, with a still window.
    """

    def __init__(self, crop: str = "auto", landmarker: Landmarker | None = None) -> None:
        if crop not in ("auto", "none"):
            raise UsageError(f"unknown crop {crop!r}: choose auto or none")
        self._auto = crop == "auto"
        self._landmarker = landmarker or Landmarker()
        self._cropper: FaceCropper | None = None
        self._last: FaceBox | None = None
        self._missing = PATIENCE
        self._since_search = SEARCH_EVERY

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._landmarker.close()

    def track(self, frame: NDArray[np.uint8]) -> Tracked:
        """One frame, (H, W, 3) uint8 RGB. Raises UsageError for crop "none" and a picture that is not square."""
        height, width = frame.shape[:2]
        if not self._auto:
            if height != width:
                raise UsageError(f"--crop none needs square pictures, not {width}x{height}: use --crop auto")
            whole = Square(0, 0, width)
            picture = cut(frame, whole)
            return Tracked(picture, Window(), whole, self._landmarker.detect(picture))
        if self._cropper is None or self._cropper.frame_size != (width, height):
            self._cropper = FaceCropper((width, height))
            self._last, self._missing, self._since_search = None, PATIENCE, SEARCH_EVERY
        cropper = self._cropper
        self._since_search += 1
        if self._missing >= PATIENCE and self._since_search >= SEARCH_EVERY:
            self._since_search = 0
            found = self._search(frame, cropper)
            if found is not None:
                return found
        square, window = cropper.square, cropper.window
        picture = cut(frame, square)
        if self._last is None:
            return Tracked(picture, window, square, None)
        landmarks = self._landmarker.detect(picture)
        if landmarks is None:
            self._missing += 1
            return Tracked(picture, window, square, None)
        mesh = square.to_frame(landmarks[:MESH])
        box = _box(mesh)
        if _distance(box, self._last) > JUMP:
            # a cut, or the tracker took another person: look at the whole frame
            found = self._search(frame, cropper)
            if found is not None:
                return found
        self._missing = 0
        self._last = box
        cropper.follow(mesh)
        return Tracked(picture, window, square, landmarks)

    def _search(self, frame: NDArray[np.uint8], cropper: FaceCropper) -> Tracked | None:
        """Lock on to the largest face, or to the one most like the last; move the square only when it is outside."""
        faces = self._landmarker.find_faces(frame)
        last = self._last
        if last is not None:
            faces.sort(key=lambda face: _distance(face, last))
        for face in faces[:2]:
            mesh = self._settle(frame, face)
            if mesh is None:
                continue
            if last is None or not cropper.holds(mesh):
                cropper.place(mesh)
            if last is None:
                cropper.anchor()
            square, window = cropper.square, cropper.window
            picture = cut(frame, square)
            self._landmarker.reset()
            landmarks = self._landmarker.detect(picture)
            if landmarks is None:
                continue
            mesh = square.to_frame(landmarks[:MESH])
            self._last, self._missing = _box(mesh), 0
            cropper.follow(mesh)
            return Tracked(picture, window, square, landmarks)
        return None

    def _settle(self, frame: NDArray[np.uint8], face: FaceBox) -> Floats | None:
        """(468, 2) mesh in pixels of the frame, found in two rounds from the detector's box."""
        height, width = frame.shape[:2]
        rough = FaceCropper((width, height))
        square = rough.place_box(face.x, face.y, face.side)
        mesh: Floats | None = None
        for _ in range(2):
            self._landmarker.reset()
            landmarks = self._landmarker.detect(cut(frame, square))
            if landmarks is None:
                return None
            mesh = square.to_frame(landmarks[:MESH])
            square = rough.place(mesh)
        return mesh


def _box(mesh: Floats) -> FaceBox:
    low, high = mesh.min(0), mesh.max(0)
    centre = (low + high) / 2
    return FaceBox(float(centre[0]), float(centre[1]), float(high[1] - low[1]), 1.0)


def _distance(face: FaceBox, other: FaceBox) -> float:
    """How far apart two faces are in place and size, in heights of the smaller one."""
    small = max(1.0, min(face.side, other.side))
    apart = float(np.hypot(face.x - other.x, face.y - other.y))
    return max(apart, abs(face.side - other.side)) / small
