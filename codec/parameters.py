"""The 35 floats of a frame (Eq. 1), and where the picture's window stands in the camera's frame."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SIZE = 256
"""Side of the coded picture, pixels."""

EXPRESSION = 28
CAMERA = 7
PARAMETERS = EXPRESSION + CAMERA

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
"""(256, 256, 3) uint8, RGB.

Coordinates everywhere: x right, y down, in pixels, continuous: pixel (row j, column i) covers [i, i+1) x [j, j+1)
and its centre is (i + 0.5, j + 0.5).
"""


@dataclass(frozen=True)
class Camera:
    """Scaled perspective camera, the 7 camera numbers of section 3.1.

    A vertex v of the model (unit: see ``FaceModel``; x right, y down, z away from the viewer) is seen at
    ``scale * (R v)_xy / (1 + translation_z * (R v)_z) + translation_xy``, with R = Rz(roll) Rx(pitch) Ry(yaw).
    ``translation_z`` = 0 is weak perspective, which is what the fit uses: it was measured to fit better.

    scale: pixels per model unit. rotation: (3,) pitch, yaw, roll in radians.
    translation: (3,) x, y in pixels of the 256x256 picture; z: perspective, per model unit.
    """

    scale: float
    rotation: Floats
    translation: Floats

    def vector(self) -> Floats:
        """(7,) float32: scale, pitch, yaw, roll, x, y, z."""
        return np.concatenate(([self.scale], self.rotation, self.translation)).astype(np.float32)

    @staticmethod
    def from_vector(v: Floats) -> Camera:
        return Camera(float(v[0]), np.asarray(v[1:4], np.float32), np.asarray(v[4:7], np.float32))


@dataclass(frozen=True)
class Window:
    """Where the 256x256 picture lies relative to the window of the session's first picture.

    x, y: displacement of the window's top left corner, in pixels of the first window's 256x256 picture.
    zoom: side of this window over the side of the first one. A still window is ``Window()``.
    """

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0

    @property
    def still(self) -> bool:
        return self.x == 0.0 and self.y == 0.0 and self.zoom == 1.0


@dataclass(frozen=True)
class FrameParameters:
    """What is sent for a frame: 28 expression + 7 camera numbers (Eq. 1), the window, and how sure the fit is.

    expression: (28,) float32, in units of the training standard deviation of each mode.
    confidence: 0 (face lost: hold) .. 1 (sure).
    """

    expression: Floats
    camera: Camera
    window: Window = field(default_factory=Window)
    confidence: float = 1.0

    def vector(self) -> Floats:
        """(35,) float32: expression, then camera."""
        return np.concatenate((self.expression, self.camera.vector())).astype(np.float32)

    @staticmethod
    def from_vector(v: Floats, window: Window | None = None, confidence: float = 1.0) -> FrameParameters:
        """(35,) -> parameters. Raises ValueError for another length."""
        if len(v) != PARAMETERS:
            raise ValueError(f"expected {PARAMETERS} numbers, got {len(v)}")
        camera = Camera.from_vector(np.asarray(v[EXPRESSION:], np.float32))
        return FrameParameters(np.asarray(v[:EXPRESSION], np.float32), camera, window or Window(), confidence)


class Region(enum.IntEnum):
    """What of a face a picture in the memory is there for."""

    WHOLE = 0
    MOUTH = 1
    EYES = 2


@dataclass(frozen=True)
class ReferenceFrame:
    """A photo of the face with its own fit, as the receiver holds it.

    photo_id: 0 for the first. picture: the photo *as decoded*. parameters: its fit.
    identity: (K,) float32, p_id of Eq. 1 (one for the session). fit: (35,) integers, the fit as it was coded.
    region: what frames take from it; all of it is a picture of the face. still: the sender says that the background stands still.
    light: gains of red, green, blue by which frames are shown brighter than it, 1/64 (``codec.light``).
    """

    photo_id: int
    picture: Picture
    parameters: FrameParameters
    identity: Floats
    fit: NDArray[np.int64] | None = None
    region: Region = Region.WHOLE
    still: bool = False
    light: tuple[int, int, int] = (0, 0, 0)
