"""The square of the frame that is coded, VoxCeleb style.

Its side is 1.75 times the height of the face mesh and it stands still while the head moves inside; only a head that is
about to leave is followed, as a camera operator would, with limited speed and acceleration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.parameters import SIZE, Floats, Picture, Window

SIDE = 1.75
"""Side of the square over the height of the face mesh ..."""
SIDE_TIGHT = 1.4
"""... or down to this where the frame is no larger: true pixels serve better than a continued edge."""
CENTRE_Y = 0.54
"""Height of the mesh's centre in the square (median of the training clips)."""


@dataclass(frozen=True)
class Square:
    """A square of the camera's frame, whole pixels; may reach beyond the frame. left, top: its corner. side: > 0."""

    left: int
    top: int
    side: int

    def window(self, first: Square) -> Window:
        """This square relative to the session's first one."""
        scale = SIZE / first.side
        return Window((self.left - first.left) * scale, (self.top - first.top) * scale, self.side / first.side)

    def to_frame(self, points: Floats) -> Floats:
        """(N, 2+) points of the 256x256 picture -> (N, 2) pixels of the camera's frame."""
        return (points[:, :2] * (self.side / SIZE) + (self.left, self.top)).astype(np.float32)


def cut(frame: NDArray[np.uint8], square: Square) -> Picture:
    """The square of the frame as (256, 256, 3) uint8. Beyond the frame its edge is continued.

    Area averaging where the picture gets smaller, cubic where it gets larger.
    """
    import cv2

    height, width = frame.shape[:2]
    left, top, right, bottom = square.left, square.top, square.left + square.side, square.top + square.side
    inside: NDArray[Any] = frame[
        max(0, min(top, height - 1)) : max(1, min(bottom, height)),
        max(0, min(left, width - 1)) : max(1, min(right, width)),
    ]
    pad = [max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)]
    if any(pad):
        limit = [square.side - inside.shape[0], square.side - inside.shape[1]]
        above, before = min(pad[0], limit[0]), min(pad[2], limit[1])
        inside = cv2.copyMakeBorder(inside, above, limit[0] - above, before, limit[1] - before, cv2.BORDER_REPLICATE)
    if inside.shape[:2] == (SIZE, SIZE):
        return np.array(inside)
    if square.side < SIZE:
        return np.asarray(cv2.resize(inside, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)
    if square.side <= 2 * SIZE:
        # as smooth as area averaging (and exact from 512), in half its time
        inside = cv2.resize(inside, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(inside, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class FollowOptions:
    """How the square follows; lengths in sides of the square, per frame.

    margin: a mesh nearer to the border starts a move. rest: the move ends when the mesh is so near to its place.
    speed, acceleration: limits; a mesh beyond the border may be followed ``haste`` times as fast.
    too_large, too_small: mesh height that starts a zoom. zoom_speed: relative change of the side.
    """

    margin: float = 0.05
    rest: float = 0.03
    speed: float = 0.012
    acceleration: float = 0.002
    haste: float = 4.0
    too_large: float = 0.80
    too_small: float = 0.38
    zoom_speed: float = 0.01


class FaceCropper:
    """Where the square stands. ``place`` puts it around a face at once, ``follow`` moves it smoothly.

    Meshes are given as (N, 2) pixels of the camera's frame; frame_size is (width, height).
    """

    def __init__(self, frame_size: tuple[int, int], options: FollowOptions | None = None) -> None:
        self.options = options or FollowOptions()
        self.frame_size = frame_size
        self._side = float(min(frame_size))
        self._centre = np.array(frame_size, np.float64) / 2
        self._velocity = np.zeros(2)
        self._moving = False
        self._zooming = False
        self._first: Square | None = None

    @property
    def square(self) -> Square:
        side = max(1, round(self._side))
        left, top = (round(float(c) - side / 2) for c in self._centre)
        return Square(left, top, side)

    @property
    def window(self) -> Window:
        """The square relative to where ``place`` first put it."""
        return self.square.window(self._first or self.square)

    def place(self, mesh: Floats) -> Square:
        """Put the square around the mesh, at once."""
        self._side, self._centre = self._around(mesh, None)
        self._velocity[:] = 0
        self._moving = self._zooming = False
        return self.square

    def anchor(self) -> None:
        """Where the square stands now is the session's first window."""
        self._first = self.square

    def place_box(self, x: float, y: float, side: float) -> Square:
        """Put the square around a detector's box, roughly: the mesh found in it places it well."""
        self._side, self._centre = side * 2.1, np.array([x, y - 0.1 * side])
        return self.square

    def holds(self, mesh: Floats) -> bool:
        """Whether the whole mesh is inside the square, and no more than twice too large or too small for it."""
        low = (mesh.min(0) - self._centre) / self._side + 0.5
        high = (mesh.max(0) - self._centre) / self._side + 0.5
        return bool((low > 0).all() and (high < 1).all() and high[1] - low[1] > 0.5 / SIDE)

    def follow(self, mesh: Floats) -> Square:
        """Move the square for the next frame, if the mesh asks for it."""
        o = self.options
        low = (mesh.min(0) - self._centre) / self._side + 0.5
        high = (mesh.max(0) - self._centre) / self._side + 0.5
        out = max(-low.min(), high.max() - 1)
        height = high[1] - low[1]
        self._zooming |= bool(height > o.too_large or height < o.too_small)
        side, centre = self._around(mesh, None if self._zooming else self._side)
        if self._zooming:
            factor = np.clip(side / self._side, 1 - o.zoom_speed, 1 + o.zoom_speed)
            self._zooming = bool(abs(side / self._side - 1) > o.zoom_speed)
            self._side *= float(factor)
        offset = (centre - self._centre) / self._side
        self._moving = bool(out > -o.margin or (self._moving and np.abs(offset).max() > o.rest))
        speed = o.speed * (o.haste if out > 0 else 1.0)
        wanted = np.clip(offset * 0.15, -speed, speed) if self._moving else np.zeros(2)
        limit = o.acceleration * (o.haste if out > 0 else 1.0)
        self._velocity += np.clip(wanted - self._velocity, -limit, limit)
        self._centre = self._centre + self._velocity * self._side
        return self.square

    def _around(self, mesh: Floats, side: float | None) -> tuple[float, NDArray[np.float64]]:
        """Side and centre of the square for a mesh, kept inside the frame as far as that moves it little."""
        low, high = mesh.min(0).astype(np.float64), mesh.max(0).astype(np.float64)
        height = max(float(high[1] - low[1]), 8.0)
        if side is None:
            side = min(SIDE * height, max(SIDE_TIGHT * height, float(min(self.frame_size))))
        centre = (low + high) / 2 + (0.0, (0.5 - CENTRE_Y) * side)
        for axis, length in enumerate(self.frame_size):
            near, far = side / 2, length - side / 2
            nearest = length / 2 if near > far else float(np.clip(centre[axis], near, far))
            centre[axis] += float(np.clip(nearest - centre[axis], -0.1 * side, 0.1 * side))
        return side, centre
