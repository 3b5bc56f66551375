"""What the sender needs to say an update: its base as the viewer will paint it, and the messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.motion import Change, MotionDecoder, MotionField, encode_motion
from codec.motion_grid import GRID, LARGEST, LEVELS, OFFSETS, POINTS, UNIT, change
from codec.packets import window_integers, window_of
from codec.parameter_codec import decode_fit, encode_fit
from codec.parameters import FrameParameters, Picture
from codec.quantiser import dequantise, quantise
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from models.warp import Photo


@dataclass(frozen=True, eq=False)
class Draft:
    """The base of an update, as the receiver will paint it, and what the message says of it."""

    parameters: FrameParameters
    coded_fit: bytes
    motion: bytes
    painted: Picture


def draft(memory: PhotoMemory, frame: DrivingFrame, base: Photo) -> Draft:
    """A frame, with its motion field if it has one, as the base of an update. memory: the sender's copy."""
    coded = encode_fit(quantise(frame.parameters.vector()))
    window = window_of(window_integers(frame.parameters.window))
    parameters = FrameParameters.from_vector(dequantise(decode_fit(coded)), window)
    motion, field = b"", None
    if frame.motion is not None:
        motion = key_packet(frame.motion, base.reference.photo_id)
        field = MotionDecoder().decode(motion, 0)
    there = memory.driving(parameters, field)
    return Draft(parameters, coded, motion, memory.warp.painted(there, base))


LARGEST_KEY = 160
"""Bytes that a field may take in an update: where it needs more, it is said more coarsely."""


def key_packet(field: MotionField, photo_id: int) -> bytes:
    """A field as a packet that hangs on nothing: level by level what the coarser ones leave, to the nearest step."""
    for step, levels in ((4, 4), (8, 4), (4, 3), (8, 2)):
        numbers = np.zeros((POINTS, 2), np.int32)
        for n, offset in list(zip(LEVELS, OFFSETS, strict=False))[:levels]:
            left = field.control - change(numbers, step)
            side = GRID // n
            cells = left.reshape(n, side, n, side, 2).mean((1, 3)) / (step * UNIT / 4)
            numbers[offset : offset + n * n] = np.clip(np.rint(cells), -LARGEST, LARGEST).reshape(n * n, 2)
        data = encode_motion(Change(numbers, step, mouth=field.mouth, eyes=field.eyes), 0, photo_id)
        if len(data) <= LARGEST_KEY:
            break
    return data
