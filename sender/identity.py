"""The identity after the opening: refined while it improves, sent again only when that pays."""

from __future__ import annotations

import numpy as np

from codec.face_model import FaceModel
from codec.fitting import FitSettings, Fitter
from codec.parameters import Floats

SOLVE_AT = (1, 4, 10, 25, 75, 200)
"""Frames with a face after which the identity is solved anew; the last are 8 s at 25 frames a second."""

WORTH_PX = 0.5
"""Rms movement of the neutral face, pixels of a face that is 141 px high, from which on a new identity is sent."""

_FACE_SCALE = 73.8


class IdentityRefiner:
    """Watches the frames of a session from its opening on. ``identity`` is the best so far, (K,)."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._fitter = Fitter(model, settings=FitSettings(identity_at=SOLVE_AT))
        self._frames = 0
        self._sent: Floats | None = None

    @property
    def identity(self) -> Floats:
        return self._fitter.identity

    def settle(self) -> Floats:
        """The identity as it is now is the one that is sent."""
        self._sent = self.identity.copy()
        return self._sent

    def add(self, landmarks: Floats) -> Floats | None:
        """Take in a frame's (478, 3) landmarks; a new identity (K,) when it is worth its bytes."""
        if self._frames >= SOLVE_AT[-1]:
            return None
        version = self._fitter.identity_version
        self._frames += not self._fitter.fit(landmarks).lost
        if self._sent is None or self._fitter.identity_version == version:
            return None
        moved = (self._model.neutral(self.identity) - self._model.neutral(self._sent))[:, :2] * _FACE_SCALE
        moved -= moved.mean(axis=0)
        if float(np.sqrt((moved**2).sum(axis=1).mean())) < WORTH_PX:
            return None
        return self.settle()
