"""From messages to pictures: what ``receive`` and ``decode`` share.

The path of a frame, top to bottom: packet -> parameters -> mesh -> visibility (PNCC and flow come from it) -> generator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codec.face_model import FaceModel
from codec.packets import FramePacket, decode_frame
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters, Picture, ReferenceFrame
from codec.photo import PhotoAssembler
from codec.raster import rasterise
from codec.stages import Stages
from models.generator import DrivingFrame, Generator


class FacePainter:
    """Holds the photos and paints frames from them. Not thread-safe: one thread paints."""

    def __init__(self, generator: Generator, model: FaceModel) -> None:
        self.stages = Stages()
        self._generator = generator
        self._model = model
        self._assembler = PhotoAssembler()
        self._reference: ReferenceFrame | None = None

    @property
    def ready(self) -> bool:
        """Whether a photo has come, so that frames can be painted."""
        return self._reference is not None

    def warm_up(self) -> None:
        """Paint a grey nobody, so that code is compiled and caches are warm before the first packet comes."""
        camera = Camera(SIZE / 2.5, np.zeros(3, np.float32), np.array([SIZE / 2, SIZE / 2, 0], np.float32))
        neutral = FrameParameters(np.zeros(EXPRESSION, np.float32), camera)
        identity = np.zeros(self._model.identities, np.float32)
        self._reference = ReferenceFrame(0, np.full((SIZE, SIZE, 3), 128, np.uint8), neutral, identity)
        self._generator.prepare(self._reference)
        for turn in range(3):
            self.paint(replace(neutral, camera=replace(camera, rotation=np.full(3, 0.05 * turn, np.float32))))
        self._reference = None
        self.stages = Stages()

    def add_photo_message(self, message: bytes) -> bool:
        """Take a message of the photos channel; True when it completed a photo. Raises BitstreamError."""
        reference = self._assembler.add(message)
        if reference is None:
            return False
        self._generator.prepare(reference)
        self._reference = reference
        return True

    def decode(self, data: bytes) -> FramePacket:
        """A frame packet's content. Raises BitstreamError."""
        with self.stages.measure("decode"):
            return decode_frame(data)

    def paint(self, parameters: FrameParameters) -> Picture:
        """Parameters -> picture. A photo must have come (``ready``)."""
        assert self._reference is not None
        with self.stages.measure("raster"):
            shape = self._model.shape(self._reference.identity, parameters.expression)
            vertices = self._model.project(shape, parameters.camera)
            visibility = rasterise(vertices, self._model.triangles)
        with self.stages.measure("generate"):
            return self._generator.generate(DrivingFrame(parameters, vertices, visibility))

    def still(self) -> Picture:
        """The photo itself: what there is to show before the first frame."""
        assert self._reference is not None
        return self.paint(self._reference.parameters)
