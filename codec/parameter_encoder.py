"""The sender's side of the parameter codec: which key, which integers, which packets need not be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.byte_choice import fill
from codec.parameter_codec import (
    ORDER,
    SEQUENCES,
    SLOTS,
    SURE,
    FrameIntegers,
    Key,
    Keys,
    P,
    ParameterPacket,
    Values,
    WindowIntegers,
    header_bits,
    predicted,
    steps,
    write_packet,
)
from codec.parameters import PARAMETERS, Floats
from codec.quantiser import TURNED, UNIT, Tables, Vectors, to_z
from codec.rate_choice import choose, refine
from codec.reconstruction import LONGEST_SILENCE, Reconstruction, middle
from codec.seen_points import SeenPoints

STORE_EVERY = 25
"""Frames between two keys."""

_STORE_BITS = 7

REST = 50
"""Frames after its last use until a slot may be stored into."""

PASSES = 2
"""Rounds of ``refine``."""

QUIET = 2.0
"""Steps of error of z (about what coding does) below which a frame need not be sent."""


AGAIN_TRADE = 3.0
"""How much dearer bits are for a frame that rides along again: it counts only where the packet before was lost."""

REMEMBERED = 4
"""Frames kept to ride along in the next packet, and the one before them."""


class _Waiting(NamedTuple):
    z: Vectors
    vector: Floats
    sure: int


class ParameterEncoder:
    """Vectors -> packets. The frames of a bundle are held back until it is full.

    rung: a name of ``Tables.names``. again: frames of the bundle that were in the packet before, too, and ride along in case that it
    was lost (``codec.redundancy``); fewer than the bundle has.
    points: the mesh whose errors count (``SeenPoints``), or None to go by z alone.
    silence: packets that the receiver can do without are left out (``LONGEST_SILENCE``).
    ``last_coded``: role and numbers of the last packet's frames, for training.
    """

    def __init__(
        self,
        rung: str = "normal",
        tables: Tables | None = None,
        points: SeenPoints | None = None,
        silence: bool = False,
        again: int = 0,
    ) -> None:
        self.tables = tables or Tables.load()
        self.points = points
        self.keys = Keys()
        self._next = (self.tables.rung(rung), again)
        self.rung, self.again = self._next
        self.set_rung(rung, again)
        self.sequence = 0
        self.silence = silence
        self.last_coded: list[tuple[int, Values]] = []
        self.trade, self.bound = self.tables.trade, self.tables.bound
        self._filter = Reconstruction(self.tables)
        self._waiting: list[_Waiting] = []
        self._past: deque[tuple[_Waiting, Vectors]] = deque(maxlen=REMEMBERED)
        self._pending: dict[int, tuple[Key, int]] = {}
        self._used = [-REST] * SLOTS
        self._frame = 0
        self._stored_at = -STORE_EVERY // 2
        self._silent = 0
        self._sent_state: tuple[int, WindowIntegers] | None = None

    def set_rung(self, name: str, again: int = 0) -> None:
        """Go on with another rung, from the next bundle on. Raises ValueError for a name that is none, or too many again."""
        rung = self.tables.rung(name)
        if not 0 <= again < self.tables.frames[rung]:
            raise ValueError(f"{again} frames cannot ride along again in a bundle of {self.tables.frames[rung]}")
        self._next = (rung, again)

    def set_reference(self, integers: NDArray[np.integer[Any]], window: WindowIntegers = (0, 0, 0)) -> None:
        """A photo's fit, (35,) as ``quantiser.quantise`` gives it, once the receiver has it."""
        self.keys.set_reference(integers, window)
        self._filter.set_reference(integers)

    def forget_keys(self) -> None:
        """Another receiver, or one that has started anew: it holds the photo's key alone."""
        reference = self.keys[0]
        assert reference is not None
        self.keys = Keys()
        self.keys[0] = reference
        self._pending.clear()

    def acknowledge(self, slot: int, check: int) -> bool:
        """The receiver has stored a key; False for an acknowledgement of something else, which changes nothing."""
        pending = self._pending.get(slot)
        if pending is None or pending[0].check != check:
            return False
        self.keys[slot] = pending[0]
        del self._pending[slot]
        return True

    def acknowledge_all(self) -> None:
        """Every key has been stored: for a file, whose reader sees every packet."""
        for slot, (key, _) in list(self._pending.items()):
            self.acknowledge(slot, key.check)

    @property
    def waiting(self) -> int:
        """Frames held back until their bundle is full."""
        return len(self._waiting)

    def encode(self, vector: Floats, confidence: float = 1.0, window: WindowIntegers = (0, 0, 0)) -> bytes | None:
        """(35,) parameters -> a packet, or None while the bundle is not full or if the receiver can do without it."""
        if not self._waiting:
            self.rung, self.again = self._next
        sure = min(SURE, max(0, round(confidence * SURE)))
        self._waiting.append(_Waiting(to_z(vector, self.tables), vector, sure))
        self._frame += 1
        again = self.again if len(self._past) > self.again and not self._silent else 0
        if len(self._waiting) < self.tables.frames[self.rung] - again:
            return None
        frames, self._waiting = self._waiting, []
        state = (frames[-1].sure, window)
        if self.silence and state == self._sent_state and self._can_do_without(frames):
            self._silent += len(frames)
            return None
        self._sent_state = state
        before = None
        if again:
            frames = [past for past, _ in self._past][-again:] + frames
            before = self._past[-again - 1][1]
        data = self._bundle(frames, window, before, again)
        self._silent = 0
        return data

    def _can_do_without(self, frames: Sequence[_Waiting]) -> bool:
        count = len(frames)
        if self._filter.z is None or self._silent + count > LONGEST_SILENCE:
            return False
        finest = self._filter.gains(self.rung)[0] * self.tables.step[self.rung, P] / UNIT
        errors = [f.z - self._filter.ahead(self._silent + i + 1) for i, f in enumerate(frames)]
        return all(float(np.sqrt((e[:TURNED] ** 2).sum())) < QUIET * finest for e in errors)

    def _bundle(self, frames: Sequence[_Waiting], window: WindowIntegers, before: Vectors | None, again: int) -> bytes:
        rung, tables, silent = self.rung, self.tables, self._silent
        count = len(frames)
        step = steps(tables, rung, P)
        fresh = self._filter.z is None
        start = self._filter.start(rung, silent) if before is None else before
        gain = np.ones(PARAMETERS) if fresh else self._filter.gains(rung)
        width = gain * step / UNIT
        wanted = frames[-1].z - (1 - gain) * start
        state = frames[-1].sure, window
        slot, values = self._against_best_key(wanted, width, step, state)
        key = self.keys[slot]
        assert key is not None
        expected = predicted(key, step)
        store = self._slot_to_store(slot)
        header = self._header_bits(slot, *state) + (_STORE_BITS if store is not None else 0)
        self._refine(frames[-1], values, wanted - expected * width, width, header if count == 1 else None)
        push = (values + expected) * step
        start = push / UNIT if fresh else start
        last = start + gain * (push / UNIT - start)
        shown = {-1: start, count - 1: last}
        integers = [FrameIntegers(P, push, frame.sure) for frame in frames]
        self.last_coded = [(P, values)]
        for place, role in ORDER[count][1:]:
            between = middle(shown, place, role, count)
            step = steps(tables, rung, role)[:TURNED]
            wanted = (frames[place].z - between)[:TURNED]
            values = self._difference(frames[place], wanted, step / UNIT, role, place < again)
            shown[place] = between.copy()
            shown[place][:TURNED] += values * step / UNIT
            integers[place] = FrameIntegers(role, values * step, frames[place].sure)
            self.last_coded.append((role, values))
        self._filter.settle(shown, count, rung, silent, push / UNIT)
        self._past.extend((frames[place], shown[place]) for place in range(again, count))
        self._used[slot] = self._frame
        if store is not None:
            self._pending[store] = (key.blended(push, window, rung), self._frame)
            self._stored_at = self._frame
        packet = ParameterPacket(rung, self.sequence, slot, tuple(integers), window)
        self.sequence = (self.sequence + 1) % SEQUENCES
        return write_packet(tables, packet, key, [values for _, values in self.last_coded], store)

    def _header_bits(self, slot: int, sure: int, window: WindowIntegers) -> float:
        key = self.keys[slot]
        assert key is not None
        return header_bits(key, slot, self.rung, window != key.window, sure != SURE)

    def _against_best_key(
        self, wanted: Vectors, width: Vectors, step: Values, state: tuple[int, WindowIntegers]
    ) -> tuple[int, Values]:
        trials: list[tuple[float, Values, Values, int]] = []
        for slot in range(SLOTS):
            key = self.keys[slot]
            if key is not None and slot not in self._pending:
                bits, values, classes = self._choose(wanted - predicted(key, step) * width, width, P)
                trials.append((bits + self._header_bits(slot, *state), values, classes, slot))
        _, values, self._classes, slot = min(trials, key=lambda trial: trial[0])
        return slot, values

    def _choose(self, wanted: Vectors, width: Vectors, role: int, dearer: float = 1.0) -> tuple[float, Values, Values]:
        t = self.tables
        values, classes = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
        base, shift = t.base[self.rung, role], t.shift[self.rung, role]
        trade = self.trade[self.rung] / (dearer * width[0] ** 2)
        bits = choose(wanted, width, base, shift, t.lengths, t.weight, t.expected, trade, values, classes)
        return float(bits), values, classes

    def _refine(
        self, frame: _Waiting, values: Values, wanted: Vectors, width: Vectors, header: float | None = None
    ) -> None:
        """header: bits of a packet besides these numbers, where they are all that it holds."""
        if self.points is None:
            return
        n, t = TURNED, self.tables
        jacobian = self.points.jacobian(frame.vector)
        bound, trade = self.bound[self.rung] * width[0], self.trade[self.rung] / width[0] ** 2
        wanted, width, classes = wanted[:n], width[:n], self._classes[:n]
        refine(wanted, width, classes, t.lengths, jacobian, bound, trade, PASSES, values[:n])
        if header is not None:
            base, shift = t.base[self.rung, P], t.shift[self.rung, P]
            fill(
                wanted, width, base, shift, classes, t.lengths, t.weight, t.expected, jacobian, bound, trade, header,
                values,
            )  # fmt: skip

    def _difference(self, frame: _Waiting, wanted: Vectors, width: Vectors, role: int, again: bool) -> Values:
        if not width[0]:
            return np.zeros(TURNED, np.int64)
        _, values, self._classes = self._choose(wanted, width, role, AGAIN_TRADE if again else 1.0)
        if not again:
            self._refine(frame, values, wanted, width)
        return values

    def _slot_to_store(self, used: int) -> int | None:
        if self._frame - self._stored_at < STORE_EVERY:
            return None
        free = [s for s in range(1, SLOTS) if s != used and self._frame - self._used[s] >= REST]
        free = [s for s in free if s not in self._pending or self._frame - self._pending[s][1] >= REST]
        return min(free, key=lambda s: self._used[s]) if free else None
