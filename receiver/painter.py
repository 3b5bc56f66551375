"""From messages to pictures: what ``receive`` and ``decode`` share.

The path of a frame, top to bottom: packet -> integers -> 35 numbers -> mesh -> visibility (PNCC and flow come from it) ->
generator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codec.face_model import FaceModel
from codec.motion import MotionDecoder
from codec.motion_track import MotionTrack
from codec.packets import window_integers
from codec.parameter_codec import ParameterDecoder, ParameterPacket
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters, Picture, ReferenceFrame
from codec.quantiser import Tables
from codec.stages import Stages
from models.backdrop import Backdrop
from models.generator import Generator
from models.memory import PhotoMemory
from receiver.concealment import Concealment
from receiver.hearing import hearing_for


class FacePainter:
    """Holds the memory and paints frames from them. Not thread-safe: one thread paints."""

    def __init__(
        self,
        generator: Generator,
        model: FaceModel,
        period_ms: float = 40.0,
        ease_motion: float = 1.0,
        backdrop: Backdrop | None = None,
    ) -> None:
        """period_ms: between two frames of the source. ease_motion: as ``MotionTrack``. backdrop: put behind the person.

        ``hearing`` is there where the generator hears: give it the sound.
        """
        self._backdrop = backdrop
        self.stages = Stages()
        self._period_ms = period_ms
        self._ease_motion = ease_motion
        self._generator = generator
        self._model = model
        self._memory = PhotoMemory(model, generator)
        self.hearing = hearing_for(generator)
        self.restart(period_ms)

    def restart(self, period_ms: float) -> None:
        """A new sender: forget photos, keys and sound."""
        self._period_ms = period_ms
        self._tables = Tables.load()
        self._decoder = ParameterDecoder(self._tables)
        self._concealment = Concealment(self._tables, period_ms)
        self._memory.clear()
        forget = getattr(self._generator, "forget", None)
        if forget is not None:
            forget()
        if self.hearing is not None:
            self.hearing.restart()
        self._motion = MotionDecoder()
        self._fields = MotionTrack(self._ease_motion)

    @property
    def ready(self) -> bool:
        """Whether a photo has come, so that frames can be painted."""
        return self._memory.latest is not None

    def warm_up(self) -> None:
        """Paint a grey nobody, so that code is compiled and caches are warm before the first packet comes."""
        camera = Camera(SIZE / 2.5, np.zeros(3, np.float32), np.array([SIZE / 2, SIZE / 2, 0], np.float32))
        neutral = FrameParameters(np.zeros(EXPRESSION, np.float32), camera)
        identity = np.zeros(self._model.identities, np.float32)
        nobody = ReferenceFrame(0, np.full((SIZE, SIZE, 3), 128, np.uint8), neutral, identity)
        self._memory.remember(nobody)
        for turn in range(3):
            self.paint(replace(neutral, camera=replace(camera, rotation=np.full(3, 0.05 * turn, np.float32))))
        coder = ParameterEncoder("low", self._tables)
        packets = [coder.encode(neutral.vector()) for _ in range(4)]
        for i, data in enumerate(data for data in packets if data is not None):
            self.push(self.decode(data), 80.0 * i)
            self.frame_at(80.0 * i)
        self.restart(self._period_ms)
        self.stages = Stages()

    def add_photo_message(self, message: bytes) -> int | None:
        """Take a message of the photos channel; the id of the photo that it completed. Raises BitstreamError."""
        first = self._memory.first is None
        reference = self._memory.add(message)
        if reference is None:
            return None
        if reference.fit is not None and first:
            self._decoder.keys.set_reference(reference.fit, window_integers(reference.parameters.window))
            self._concealment.reconstruction.set_reference(reference.fit)
        return reference.photo_id

    def decode(self, data: bytes) -> ParameterPacket:
        """A parameter packet's integers; a photo must have come. Raises BitstreamError."""
        with self.stages.measure("decode"):
            return self._decoder.decode(data)

    def push(self, packet: ParameterPacket, time_ms: float) -> None:
        """Take a decoded packet. time_ms: of its last frame."""
        self._concealment.push(packet, time_ms)

    def frame_at(self, time_ms: float) -> FrameParameters | None:
        """The 35 numbers of a frame, whether it came or not; None before the first packet."""
        shown = self._concealment.at(time_ms)
        return None if shown is None else shown.parameters(self._tables)

    def add_motion(self, packet: bytes, sequence: int) -> None:
        """A motion packet of the frame with that number. Raises BitstreamError."""
        self._fields.add(self._motion.decode(packet, sequence))

    def paint(self, parameters: FrameParameters, sequence: int | None = None, time_s: float | None = None) -> Picture:
        """Parameters -> picture. A photo must have come (``ready``). sequence: of the frame, for its motion field. time_s: when
        it was captured, since the sender's epoch, for the sound that belongs to it.
        """
        if self.hearing is not None and time_s is not None:
            with self.stages.measure("hear"):
                self._generator.listen(self.hearing.at(time_s, self._period_ms / 1000))  # type: ignore[attr-defined]
        with self.stages.measure("raster"):
            frame = self._memory.driving(parameters)
        with self.stages.measure("generate"):
            field = None if sequence is None else self._fields.at(sequence, self._memory.warp.photos)
            picture = self._generator.generate(replace(frame, motion=field))
        if self._backdrop is None:
            return picture
        with self.stages.measure("background"):
            return self._backdrop.apply(picture, parameters.window)

    @property
    def reference_parameters(self) -> FrameParameters:
        """The photo's own fit: what there is to show before the first frame."""
        assert self._memory.first is not None
        return self._memory.first.parameters
