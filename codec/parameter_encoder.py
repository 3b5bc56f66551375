"""The sender's side of the parameter codec: which key, which integers, which packets need not be sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.parameter_codec import (
    ORDER,
    SEQUENCES,
    SLOTS,
    SURE,
    FrameIntegers,
    Key,
    Keys,
    M,
    P,
    ParameterPacket,
    Values,
    WindowIntegers,
    predicted,
    steps,
    write_packet,
)
from codec.parameters import PARAMETERS, Floats
from codec.quantiser import LIMIT, TURNED, UNIT, Tables, Vectors, to_z
from codec.rate_choice import choose, refine
from codec.reconstruction import Reconstruction
from codec.seen_points import SeenPoints

STORE_EVERY = 25
"""Frames between two keys."""

REST = 50
"""Frames after its last use until a slot may be stored into."""

TRADE = 9.0
"""Bits that a square error of one squared step is worth."""

BOUND = 3.0
"""Steps of error at a point of the mesh beyond which it is avoided steeply."""


class ParameterEncoder:
    """Vectors -> packets. The frames of a bundle are held back until it is full.

    rung: a name of ``Tables.names``. points: the mesh whose errors count (``SeenPoints``), or None to go by z alone.
    """

    def __init__(self, rung: str = "normal", tables: Tables | None = None, points: SeenPoints | None = None) -> None:
        self.tables = tables or Tables.load()
        self.points = points
        self.keys = Keys()
        self.rung = self.tables.rung(rung)
        self.sequence = 0
        self.bits = 0.0
        self.trade, self.bound, self.passes = TRADE, BOUND, 2
        self._filter = Reconstruction(self.tables)
        self._waiting: list[tuple[Vectors, Floats, int]] = []
        self._pending: dict[int, tuple[Key, int]] = {}
        self._used = [-REST] * SLOTS
        self._frame = 0
        self._stored_at = -STORE_EVERY // 2
        self.last_coded: list[tuple[int, Values]] = []

    def set_rung(self, name: str) -> None:
        """Go on with another rung, from the next bundle on. Raises ValueError for a name that is none."""
        self.rung = self.tables.rung(name)
        self._waiting.clear()

    def set_reference(self, integers: NDArray[np.integer], window: WindowIntegers = (0, 0, 0)) -> None:
        """A photo's fit, (35,) as ``quantiser.quantise`` gives it, once the receiver has it."""
        self.keys.set_reference(integers, window)
        self._filter.set_reference(integers)

    def acknowledge(self, slot: int, check: int) -> bool:
        """The receiver has stored a key; False for an acknowledgement of something else, which changes nothing."""
        pending = self._pending.get(slot)
        if pending is None or pending[0].check != check:
            return False
        self.keys[slot] = pending[0]
        del self._pending[slot]
        return True

    def encode(self, vector: Floats, confidence: float = 1.0, window: WindowIntegers = (0, 0, 0)) -> bytes | None:
        """(35,) parameters -> a packet, or None while the bundle is not full."""
        sure = min(SURE, max(0, round(confidence * SURE)))
        self._waiting.append((to_z(vector, self.tables), vector, sure))
        self._frame += 1
        if len(self._waiting) < self.tables.frames[self.rung]:
            return None
        frames, self._waiting = self._waiting, []
        return self._bundle(frames, window)

    def _bundle(self, frames: Sequence[tuple[Vectors, Floats, int]], window: WindowIntegers) -> bytes:
        rung, tables = self.rung, self.tables
        count = len(frames)
        start = self._filter.z
        step = steps(tables, rung, P)
        gain = np.ones(PARAMETERS) if start is None else self._filter.gains(rung)
        wanted = frames[-1][0] - (0 if start is None else (1 - gain) * start)
        width = gain * step / UNIT
        slot, values = self._against_best_key(wanted, width, step)
        key = self.keys[slot]
        assert key is not None
        ahead = predicted(key, step)
        self._refine(frames[-1], values, wanted - ahead * width, width, P)
        push = (values + ahead) * step
        shown = {-1: push / UNIT if start is None else start}
        shown[count - 1] = shown[-1] + gain * (push / UNIT - shown[-1])
        numbers = [values]
        integers: list[FrameIntegers] = [FrameIntegers(P, push, f[2]) for f in frames]
        self.last_coded = [(P, values)]
        for place, role in ORDER[count][1:]:
            reach = 2 if role == M and count == 4 else 1
            middle = (shown[place - reach] + shown[place + reach]) / 2
            fine = steps(tables, rung, role)
            values = self._difference(frames[place], middle, fine, role)
            shown[place] = middle.copy()
            shown[place][:TURNED] += values * fine[:TURNED] / UNIT
            numbers.append(values)
            self.last_coded.append((role, values))
            integers[place] = FrameIntegers(role, values * fine[:TURNED], frames[place][2])
        self._filter.z = shown[count - 1]
        self._used[slot] = self._frame
        store = self._slot_to_store(slot)
        if store is not None:
            self._pending[store] = (key.blended(push, window), self._frame)
            self._stored_at = self._frame
        packet = ParameterPacket(rung, self.sequence, slot, tuple(integers), window)
        self.sequence = (self.sequence + 1) % SEQUENCES
        return write_packet(tables, packet, key, numbers, store)

    def _against_best_key(self, wanted: Vectors, width: Vectors, step: Values) -> tuple[int, Values]:
        best, chosen, least = np.zeros(PARAMETERS, np.int64), 0, np.inf
        trade = self.trade / width[0] ** 2
        for slot in range(SLOTS):
            key = self.keys[slot]
            if key is None or slot in self._pending:
                continue
            values = np.zeros(PARAMETERS, np.int64)
            bits = self._choose(wanted - predicted(key, step) * width, width, P, trade, values)
            if bits < least:
                best, chosen, least, classes = values, slot, bits, self._classes
        self._classes = classes
        return chosen, best

    def _choose(self, wanted: Vectors, width: Vectors, role: int, trade: float, values: Values) -> float:
        t = self.tables
        self._classes = np.zeros(len(values), np.int64)
        base, shift = t.base[self.rung, role], t.shift[self.rung, role]
        return float(
            choose(wanted, width, base, shift, t.lengths, t.weight, t.expected, trade, values, self._classes)
        )

    def _refine(self, frame: tuple[Vectors, Floats, int], values: Values, wanted: Vectors, width: Vectors, role: int) -> None:
        if self.points is None or not self.passes:
            return
        jacobian = self.points.jacobian(frame[1])
        bound = self.bound * width[0]
        trade = self.trade / width[0] ** 2
        n = TURNED
        refine(wanted[:n], width[:n], self._classes[:n], self.tables.lengths, jacobian, bound, trade, self.passes, values[:n])

    def _difference(self, frame: tuple[Vectors, Floats, int], middle: Vectors, step: Values, role: int) -> Values:
        values = np.zeros(TURNED, np.int64)
        if step[0]:
            wanted, width = (frame[0] - middle)[:TURNED], step[:TURNED] / UNIT
            self._choose(wanted, width, role, self.trade / width[0] ** 2, values)
            self._refine(frame, values, wanted, width, role)
        return values

    def _slot_to_store(self, used: int) -> int | None:
        if self._frame - self._stored_at < STORE_EVERY:
            return None
        free = [s for s in range(1, SLOTS) if s != used and self._frame - self._used[s] >= REST]
        free = [s for s in free if s not in self._pending or self._frame - self._pending[s][1] >= REST]
        return min(free, key=lambda s: self._used[s]) if free else None


def quantised_key(integers: NDArray[np.integer]) -> Values:
    """(35,) within the limits of a key."""
    return np.clip(np.asarray(integers, np.int64), -LIMIT, LIMIT)
