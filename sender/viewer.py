"""The sender's copy of what the viewer holds: photo, keys, filter; by the same code, from the same messages."""

from __future__ import annotations

from codec.face_model import FaceModel
from codec.packets import window_integers
from codec.parameter_codec import ParameterDecoder
from codec.parameters import Floats, FrameParameters, ReferenceFrame
from codec.photo import PhotoAssembler
from codec.quantiser import Tables
from codec.raster import rasterise
from codec.reconstruction import Reconstruction
from models.generator import DrivingFrame
from models.warp import Warp


class ViewersCopy:
    """What is fed to it has surely reached the viewer: everything, in a file."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._tables = Tables.load()
        self._warp = Warp(model)
        self._assembler = PhotoAssembler()
        self._decoder = ParameterDecoder(self._tables)
        self._reconstruction = Reconstruction(self._tables)
        self.reference: ReferenceFrame | None = None

    def add_photo_message(self, message: bytes) -> ReferenceFrame | None:
        """A message of the photos channel; the photo that it completed."""
        reference = self._assembler.add(message)
        if reference is not None:
            self._warp.prepare(reference)
            if self.reference is None and reference.fit is not None:
                self._decoder.keys.set_reference(reference.fit, window_integers(reference.parameters.window))
                self._reconstruction.set_reference(reference.fit)
            self.reference = reference
        return reference

    def push(self, packet: bytes) -> list[FrameParameters]:
        """A parameter packet -> the numbers of its frames, as the viewer paints them."""
        return [shown.parameters(self._tables) for shown in self._reconstruction.push(self._decoder.decode(packet))]

    def flow(self, parameters: FrameParameters) -> Floats:
        """(256, 256, 2): where in the photo the viewer's pixels come from, without a motion field."""
        assert self.reference is not None
        shape = self._model.shape(self.reference.identity, parameters.expression)
        vertices = self._model.project(shape, parameters.camera)
        return self._warp.flow(DrivingFrame(parameters, vertices, rasterise(vertices, self._model.triangles)))
