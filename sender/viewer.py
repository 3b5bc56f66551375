"""The sender's copy of what the viewer holds: memory, keys, filter; by the same code, from the same messages."""

from __future__ import annotations

from codec.face_model import FaceModel
from codec.packets import window_integers
from codec.parameter_codec import ParameterDecoder
from codec.parameters import FrameParameters, ReferenceFrame
from codec.quantiser import Tables
from codec.reconstruction import Reconstruction
from models.memory import PhotoMemory


class ViewersCopy:
    """What is fed to it has surely reached the viewer: everything, in a file."""

    def __init__(self, model: FaceModel) -> None:
        self._tables = Tables.load()
        self.memory = PhotoMemory(model)
        self._decoder = ParameterDecoder(self._tables)
        self._reconstruction = Reconstruction(self._tables)

    @property
    def reference(self) -> ReferenceFrame | None:
        """The latest picture in the memory."""
        return self.memory.latest

    def add_photo_message(self, message: bytes) -> ReferenceFrame | None:
        """A message of the photos channel; the picture that it completed."""
        first = self.memory.first is None
        reference = self.memory.add(message)
        if reference is not None and first and reference.fit is not None:
            self._decoder.keys.set_reference(reference.fit, window_integers(reference.parameters.window))
            self._reconstruction.set_reference(reference.fit)
        return reference

    def push(self, packet: bytes) -> list[FrameParameters]:
        """A parameter packet -> the numbers of its frames, as the viewer paints them."""
        return [shown.parameters(self._tables) for shown in self._reconstruction.push(self._decoder.decode(packet))]
