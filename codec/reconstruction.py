"""From a packet's integers to the numbers that are shown: a filter that makes the most of the packets before.

P is not the frame itself but a *push*: the sender knows that the receiver shows ``y := (1 - gain) y + gain P``, and chooses P so
that y comes out right. So a step of 1/gain times the size is as fine as the wanted one, and what a lost packet did to y fades by
itself. Over frames that did not come, y goes on with damped speed, and the next P weighs more. M and Q are differences from the
middle of their neighbours. Floats, and not part of what must agree to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.parameter_codec import ORDER, SURE, M, P, ParameterPacket, WindowIntegers
from codec.parameters import PARAMETERS, FrameParameters, Window
from codec.quantiser import TURNED, UNIT, Tables, Vectors, from_z

CATCH_UP = 0.5
"""How many more steps of the filter are taken at once for each frame that did not come."""

DAMPING = 0.7
"""What is left of the speed from one extrapolated frame to the next."""

FARTHEST = 5
"""Frames that are extrapolated (200 ms at 25 fps); then y holds."""


LONGEST_SILENCE = 7
"""Frames in a row that a sender may leave out because the receiver can do without them."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame as the receiver has it. z: (35,) float64, as ``quantiser.to_z``. confidence: 0..1."""

    z: Vectors
    confidence: float
    window: WindowIntegers = (0, 0, 0)

    def parameters(self, tables: Tables) -> FrameParameters:
        """The 35 floats."""
        x, y, zoom = self.window
        return FrameParameters.from_vector(
            from_z(self.z, tables), Window(x / 4, y / 4, 2.0 ** (zoom / 1024)), self.confidence
        )


ON_Y, ON_P, ON_DRIFT = range(3)
"""What a rung's P is weighed against: y; the P before, so that a packet's loss is felt for one frame; y that goes on moving."""


class Reconstruction:
    """The receiver's filter; the sender runs one too. ``z``: (35,), the last frame's, None before the first packet."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables or Tables.load()
        self.z: Vectors | None = None
        self.speed = np.zeros(PARAMETERS)
        self._pushed = np.zeros(PARAMETERS)
        self._moved = np.zeros(PARAMETERS)

    def set_reference(self, integers: NDArray[np.integer[Any]]) -> None:
        """The fit of a photo, (35,) as ``quantiser.quantise`` gives it: where y starts."""
        if self.z is None:
            self.z = self._pushed = np.asarray(integers, np.float64) / UNIT

    def gains(self, rung: int, lost: int = 0) -> Vectors:
        """(35,) what P weighs in y, after so many frames that did not come."""
        gain = self.tables.gain[rung] / 64
        out = np.full(PARAMETERS, 1.0 - (1.0 - gain) ** (1.0 + CATCH_UP * lost))
        out[TURNED] = 1.0
        return out

    def start(self, rung: int, missing: int) -> Vectors:
        """(35,) what P is weighed against in a rung: where y goes on from, after so many frames that did not come."""
        lean = self.tables.lean[rung]
        if missing or self.z is None or lean == ON_Y:
            return self.ahead(missing)
        if lean == ON_P:
            return self._pushed
        start = self.z.copy()
        start[:TURNED] += self.tables.drift / 64 * self._moved[:TURNED]
        return start

    def ahead(self, frames: int) -> Vectors:
        """(35,) where y is so many frames after the last one, if nothing comes."""
        if self.z is None:
            return np.zeros(PARAMETERS)
        k = min(frames, FARTHEST)
        return np.asarray(self.z + self.speed * (DAMPING * (1 - DAMPING**k) / (1 - DAMPING)))

    def push(
        self, packet: ParameterPacket, lost: int = 0, silent: int = 0, before: Vectors | None = None
    ) -> list[Shown]:
        """The packet's frames in order of time. lost: frames missing before it; silent: frames that were never sent.

        before: (35,) z of the frame before its first, if the packet begins with frames that are not newer than the newest.
        """
        count = len(packet.frames)
        push = packet.frames[-1].values / UNIT
        start = before if before is not None else push if self.z is None else self.start(packet.rung, lost + silent)
        gain = self.gains(packet.rung, lost)
        last = start + gain * (push - start)
        shown: dict[int, Vectors] = {-1: start + lost / (lost + count) * (last - start), count - 1: last}
        for place, role in ORDER[count]:
            if role != P:
                shown[place] = middle(shown, place, role, count) + packet.frames[place].values / UNIT
        self.settle(shown, count, packet.rung, lost + silent, push)
        return [Shown(shown[i], f.confidence / SURE, packet.window) for i, f in enumerate(packet.frames)]

    def settle(self, shown: dict[int, Vectors], count: int, rung: int, missing: int, push: Vectors) -> None:
        """Take the frames of a bundle, by place, as shown. Movement of the size of the coding's own noise is no speed."""
        self._pushed = push
        if self.z is not None:
            moved = shown[count - 1] - (shown[count - 2] if count > 1 else self.z)
            finest = self.tables.gain[rung] / 64 * self.tables.step[rung, P] / UNIT
            energy = float((moved[:TURNED] ** 2).sum())
            sure = max(0.0, 1.0 - 2 * TURNED / 12 * finest**2 / max(energy, 1e-12))
            self._moved = moved / (1 if count > 1 else 1 + missing)
            self.speed = self._moved * sure
        self.z = shown[count - 1]


def middle(shown: dict[int, Vectors], place: int, role: int, count: int) -> Vectors:
    """(35,) what M and Q are differences from: the mean of their neighbours in the bundle."""
    reach = 2 if role == M and count == 4 else 1
    return np.asarray((shown[place - reach] + shown[place + reach]) / 2)
