"""The receiver's memory: photos and patches, by id, the same at both ends from the same messages.

A photo may be said as a change of what the memory itself paints (``codec.photo_update``), so the memory owns a ``Warp``. The
sender decides what is forgotten: an id that comes again replaces what was there, and there is room for 31.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.parameters import Floats, FrameParameters, Picture, ReferenceFrame
from codec.photo import PhotoAssembler
from codec.photo_update import PhotoUpdate
from codec.raster import rasterise
from models.generator import DrivingFrame, Generator
from models.warp import Warp

if TYPE_CHECKING:
    from codec.face_model import FaceModel
    from codec.motion import MotionField


class PhotoMemory:
    """Photo messages in, pictures in the generator's memory out. Not thread-safe.

    generator: is given every picture that comes; one that is no ``Warp`` is given whole photos alone.
    """

    def __init__(self, model: FaceModel, generator: Generator | None = None) -> None:
        self._model = model
        self.generator = generator
        self.warp = generator if isinstance(generator, Warp) else Warp(model)
        self.clear()

    def clear(self) -> None:
        """Forget everything: a new sender."""
        self._assembler = PhotoAssembler(self._base)
        self.warp.forget()
        self.first: ReferenceFrame | None = None
        self.latest: ReferenceFrame | None = None

    @property
    def identity(self) -> Floats:
        """(K,) p_id, as the latest message has it. A photo must have come."""
        assert self.latest is not None
        return self.latest.identity

    def add(self, message: bytes) -> ReferenceFrame | None:
        """Take a message of the photos channel; returns the picture that it completes. Raises BitstreamError."""
        reference = self._assembler.add(message)
        if reference is None:
            return None
        self.remember(reference)
        return reference

    def remember(self, reference: ReferenceFrame) -> None:
        """Take a picture as it is."""
        self.warp.prepare(reference)
        if self.generator is not None and self.generator is not self.warp and not reference.region:
            self.generator.prepare(reference)
        self.first = self.first or reference
        self.latest = reference

    def driving(
        self, parameters: FrameParameters, field: MotionField | None = None, identity: Floats | None = None
    ) -> DrivingFrame:
        """A frame to paint from its numbers; identity: the latest, if not said."""
        shape = self._model.shape(self.identity if identity is None else identity, parameters.expression)
        vertices = self._model.project(shape, parameters.camera)
        return DrivingFrame(parameters, vertices, rasterise(vertices, self._model.triangles), field)

    def _base(self, base: ReferenceFrame, update: PhotoUpdate, identity: Floats) -> Picture:
        frame = self.driving(update.parameters, update.field, identity)
        return self.warp.painted(frame, self.warp.photos[base.photo_id])
