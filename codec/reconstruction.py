"""From a packet's integers to the numbers that are shown: a filter that makes the most of the packets before.

P is not the frame itself but a *push*: the sender knows that the receiver shows ``y := (1 - gain) y + gain P``, and chooses P so that y comes
out right. So a step of gain times the size is as fine as the wanted one, and what a lost packet did to y fades by itself: after
a gap the receiver only raises its gain. M and Q are differences from the middle of their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.parameter_codec import ORDER, SURE, M, P, ParameterPacket
from codec.parameters import PARAMETERS
from codec.quantiser import TURNED, UNIT, Tables, Vectors

CATCH_UP = 0.5
"""How many more steps of the filter are taken at once for each frame that was lost."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame as the receiver has it. z: (35,) float64, as ``quantiser.to_z``. confidence: 0..1."""

    z: Vectors
    confidence: float


class Reconstruction:
    """The receiver's filter; the sender runs one too. ``z`` is the last frame's, None before the first packet."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables or Tables.load()
        self.z: Vectors | None = None

    def set_reference(self, integers: NDArray[np.integer]) -> None:
        """The fit of a photo, (35,) as ``quantiser.quantise`` gives it: where y starts."""
        if self.z is None:
            self.z = np.asarray(integers, np.float64) / UNIT

    def gains(self, rung: int, lost: int = 0) -> Vectors:
        """(35,) what P weighs in y, after so many lost frames."""
        gain = self.tables.gain[rung] / 64
        out = np.full(PARAMETERS, 1.0 - (1.0 - gain) ** (1.0 + CATCH_UP * lost))
        out[TURNED] = 1.0
        return out

    def push(self, packet: ParameterPacket, lost: int = 0, before: Vectors | None = None) -> list[Shown]:
        """The packet's frames in order of time. lost: frames missing before it. before: what was shown last, if not ``z``."""
        order = ORDER[len(packet.frames)]
        start = self.z if before is None else before
        push = packet.frames[-1].values / UNIT
        gain = np.ones(PARAMETERS) if start is None else self.gains(packet.rung, lost)
        start = push if start is None else start
        shown: dict[int, Vectors] = {-1: start, len(packet.frames) - 1: start + gain * (push - start)}
        for place, role in order:
            if role != P:
                reach = 2 if role == M and len(packet.frames) == 4 else 1
                middle = (shown[place - reach] + shown[place + reach]) / 2
                shown[place] = middle + packet.frames[place].values / UNIT
        self.z = shown[len(packet.frames) - 1]
        return [Shown(shown[i], f.confidence / SURE) for i, f in enumerate(packet.frames)]
