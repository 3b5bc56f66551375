"""Still faces still, moving faces on time: a filter on the 35 numbers.

Each number has its own one-pole filter, whose gain rises with how far the number has moved, measured by that number's own noise:
what stays within the noise is averaged over several frames, what leaves it is followed at once. The noise is learned on
the way, as a low quantile of the second difference, which movement hardly touches. A velocity term takes away the lag
of slow, steady motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.parameters import CAMERA, EXPRESSION, Floats, FrameParameters


@dataclass(frozen=True)
class SmoothingSettings:
    """rest: gain within the noise. knee: innovation, in standard deviations of the noise, at which the gain is half way
    to 1. quantile and rate: of the noise tracker. expression, scale, rotation, translation: the noise assumed at first,
    in the units of the parameters, scale as a share.
    """

    rest: float = 0.2
    knee: float = 3.0
    quantile: float = 0.4
    rate: float = 0.03
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
        self._state: Floats | None = None
        self._history: list[Floats] = []

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
        ratio = (innovation / (self.settings.knee * np.maximum(self._noise, 1e-9))) ** 2
        gain = self.settings.rest + (1.0 - self.settings.rest) * ratio / (1.0 + ratio)
        self._state = self._state + gain * innovation
        return FrameParameters.from_vector(
            self._state.astype(np.float32), parameters.window, parameters.confidence
        )

    def _track(self, now: Floats) -> None:
        self._history = [*self._history[-2:], now]
        if len(self._history) < 3:
            return
        first, second, third = self._history
        size = np.abs(third - 2.0 * second + first) / np.sqrt(6.0)
        # the 40 % quantile of |normal| is 0.524 standard deviations
        above = size > 0.524 * self._noise
        rate = self.settings.rate
        self._noise *= np.where(above, np.exp(rate * self.settings.quantile / 0.4 * 0.6 / 0.6), np.exp(-rate * 1.5))
