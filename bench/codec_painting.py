"""A Headwire file decoded once for ``light`` and ``warp``: what ``light`` corrects is what ``warp`` shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.codecs import Frames
from codec.face_model import FaceModel
from codec.parameters import Picture
from models.generator import DrivingFrame
from models.light import Light
from models.warp import FaceMesh, Warp
from receiver.files import decode_file


class _Kept(Warp):
    """``warp``, which keeps its pictures."""

    def __init__(self, face_model: FaceMesh) -> None:
        super().__init__(face_model)
        self.kept: list[Picture] = []

    def generate(self, frame: DrivingFrame) -> Picture:
        self.kept.append(super().generate(frame))
        return self.kept[-1]


class _LightAfterWarp(Light, _Kept):
    """``light``, whose ``super()`` is that."""


def decode_both(source: Path, target: Path) -> Frames:
    """As ``decode_file`` does for ``light``; returns what ``warp`` shows."""
    generator = _LightAfterWarp(FaceModel.load())
    decode_file(source, target, generator)
    return np.stack(generator.kept)
