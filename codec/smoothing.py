"""Still faces still, moving faces on time: a filter on the 35 numbers.

A one-pole filter whose gain rises with how far the numbers have moved, each measured by its own noise: what stays within the
noise is averaged over several frames, what leaves it is followed at once (the idea of the one-euro filter, with the innovation
in the place of the speed). All numbers share the gain, because in a fit camera and expression make up for each other's noise:
filtered each by itself, the noise of both shows. The noise is learned on the way, as a low quantile of the second difference,
which movement hardly touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.parameters import CAMERA, EXPRESSION, FrameParameters

_QUANTILE = 0.4
_QUANTILE_OF_NOISE = 0.524
"""Below so many standard deviations lies that share of a normal variable's magnitude."""


@dataclass(frozen=True)
class SmoothingSettings:
    """rest: gain within the noise. knee: innovation, in standard deviations of the noise, at which the gain is half way
    to 1. together: power of the mean over the numbers' innovations; high: the one that moved farthest decides for all. rate: how
    fast the noise is learned, per frame. expression, scale, rotation, translation: the noise assumed at first,
    in the units of the parameters, scale as a share.
    """

    rest: float = 0.2
    knee: float = 4.5
    together: float = 3.0
    rate: float = 0.07
    expression: float = 0.06
    scale: float = 0.001
    rotation: float = 0.003
    translation: float = 0.08


class Smoother:
    """Smooths the frames of one person, in order. A lost frame (confidence 0) passes and restarts it."""

    def __init__(self, settings: SmoothingSettings | None = None) -> None:
        self.settings = settings or SmoothingSettings()
        s = self.settings
        noise = np.full(EXPRESSION + CAMERA, s.expression)
        noise[EXPRESSION] = 0.0
        noise[EXPRESSION + 1 : EXPRESSION + 4] = s.rotation
        noise[EXPRESSION + 4 :] = s.translation
        self._noise = noise
        self.restart()

    def restart(self) -> None:
        """Forget the past (a cut, another identity); the noise learned is kept."""
        self._state: NDArray[np.float64] | None = None
        self._history: list[NDArray[np.float64]] = []

    def smooth(self, parameters: FrameParameters) -> FrameParameters:
        """The frame's parameters, steadied; window and confidence as they are."""
        if parameters.confidence <= 0.0:
            self.restart()
            return parameters
        now = parameters.vector().astype(np.float64)
        if self._state is None:
            self._state = now
            self._history = [now]
            if self._noise[EXPRESSION] == 0.0:
                self._noise[EXPRESSION] = self.settings.scale * abs(now[EXPRESSION])
            return parameters
        self._track(now)
        innovation = now - self._state
        s = self.settings
        moved = np.abs(innovation) / (s.knee * np.maximum(self._noise, 1e-9))
        ratio = float((moved**s.together).mean() ** (2.0 / s.together))
        gain = s.rest + (1.0 - s.rest) * ratio / (1.0 + ratio)
        self._state = self._state + gain * innovation
        return FrameParameters.from_vector(self._state.astype(np.float32), parameters.window, parameters.confidence)

    def _track(self, now: NDArray[np.float64]) -> None:
        self._history = [*self._history[-2:], now]
        if len(self._history) < 3:
            return
        first, second, third = self._history
        size = np.abs(third - 2.0 * second + first) / np.sqrt(6.0)
        above = size > _QUANTILE_OF_NOISE * self._noise
        rate = self.settings.rate
        self._noise *= np.where(above, np.exp(rate * _QUANTILE), np.exp(-rate * (1.0 - _QUANTILE)))
