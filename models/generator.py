"""The interface that every generator fills, from ``warp`` (no network) to ``headgan``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from codec.motion import MotionField
from codec.parameters import Floats, FrameParameters, Picture, ReferenceFrame
from codec.raster import Visibility


@dataclass(frozen=True)
class DrivingFrame:
    """One frame to paint.

    parameters: the 35 floats. vertices: (478, 3) float32, the posed mesh (Eq. 1 and the camera): x, y in pixels, z depth.
    visibility: which triangle each pixel shows, from ``codec.raster``. motion: the residual motion field of the frame, which
    says from where else in the photo its pixels come; None: the 35 floats alone.
    """

    parameters: FrameParameters
    vertices: Floats
    visibility: Visibility
    motion: MotionField | None = None


class Generator(ABC):
    """Paints frames from one or more reference photos.

    What depends on a photo alone happens in ``prepare``, once; ``generate`` is the per-frame path.
    """

    name: str

    @abstractmethod
    def prepare(self, reference: ReferenceFrame) -> None:
        """Take a photo into the memory. The first call makes the generator ready."""

    @abstractmethod
    def generate(self, frame: DrivingFrame) -> Picture:
        """Paint one frame: (256, 256, 3) uint8 RGB. Never raises on finite parameters."""
