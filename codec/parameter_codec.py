"""Packets of the face's parameters: bytes to integers and back, in integer arithmetic only (``docs/bitstream-parameters.md``).

A packet holds a bundle of 1, 2 or 4 successive frames and decodes by itself, given the key that it names. It is one run of the
range coder (``entropy``): sequence number, key, rung (which steps and tables; nearly always the one that the key came with),
then the frames. The bundle's *last* frame, P, is coded against the key: a vector of integers that both ends hold. The frames
before it are differences from the middle of their neighbours (``reconstruction`` makes pictures' numbers of both). Keys: slot 0
is the reference photo's fit; a packet may order the receiver to store, in one of the slots 1 to 3, the mean of the key it named
and of its own P; the sender uses such a key once the receiver has acknowledged it by slot and check.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.entropy import (
    MAXIMUM,
    ended_well,
    finish,
    put,
    put_bits,
    put_flag,
    start_decoder,
    start_encoder,
    take,
    take_bits,
    take_flag,
    target,
)
from codec.errors import BitstreamError
from codec.frame_syntax import put_frame, take_frame
from codec.parameters import PARAMETERS
from codec.quantiser import LIMIT, TURNED, Tables

SLOTS = 4
SEQUENCES = 16
SURE = 3
"""Confidence of a face that was seen; 0: no face, the numbers are the last good ones."""

P, M, Q, FIT = range(4)
"""Roles of frames: last of the bundle, middle, quarters, and a fit that is coded from nothing."""

ORDER: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, P),),
    2: ((1, P), (0, M)),
    4: ((3, P), (1, M), (0, Q), (2, Q)),
}
"""Frames of a bundle -> (place in time, role) in the order of coding."""

EMPTY = b"\0"
"""What a packet is written as whose bytes are all zeros."""

MISSING = -1
"""In place of a rung: there is no key."""

_SLOTS = (0, 1, 9, 13, 16)
"""Limits of the slots' intervals of 2^4."""

_SHORT = 3
"""Rungs below have short names in packets against the photo's key."""

MAX_PACKET = 600
"""Bytes; a longer packet is refused unread."""

LARGEST = 1 << 22
"""Magnitude, in UNITs, that a decoded number of P may not exceed."""

_RESERVED, _STORE, _UNSURE, _MOVED, _OTHER = 2048, 1024, 512, 128, 512
"""Frequencies of the flags, of 2^15. Where the first is set, the first byte is 0xF0 or more: later versions set it, and in a
message such a byte begins a motion packet."""

Values = NDArray[np.int64]
WindowIntegers = tuple[int, int, int]
"""x and y in 1/4 px, log2 zoom in 1/1024; each -32768..32767."""


@dataclass(frozen=True, eq=False)
class Key:
    """What a slot holds. values: (35,) int64, z in UNITs. window: of the frame it came from. rung: of the packet it came with;
    None for a photo's."""

    values: Values
    window: WindowIntegers = (0, 0, 0)
    rung: int | None = None

    @property
    def check(self) -> int:
        """16 bits by which an acknowledgement names the key's content."""
        integers = np.concatenate((self.values, self.window, (self.rung or 0,))).astype(">i4")
        return zlib.crc32(integers.tobytes()) & 0xFFFF

    def blended(self, values: Values, window: WindowIntegers, rung: int) -> Key:
        """The key that a packet with these P values orders to be stored: the mean, rounded down."""
        return Key(np.clip((self.values + values) >> 1, -LIMIT, LIMIT), window, rung)


@dataclass(frozen=True, eq=False)
class FrameIntegers:
    """One frame as decoded. role P: values (35,) are z in UNITs; M, Q: differences from the middle of the neighbours.
    confidence: 0..SURE."""

    role: int
    values: Values
    confidence: int = SURE


@dataclass(frozen=True, eq=False)
class ParameterPacket:
    """A decoded packet. frames: in order of time. stored: (slot, check) to acknowledge, if it ordered a key."""

    rung: int
    sequence: int
    slot: int
    frames: tuple[FrameIntegers, ...]
    window: WindowIntegers
    stored: tuple[int, int] | None = None


class Keys:
    """The slots at one end; both ends start with a reference of zeros in slot 0 and nothing else."""

    def __init__(self) -> None:
        self._slots: list[Key | None] = [Key(np.zeros(PARAMETERS, np.int64))] + [None] * (SLOTS - 1)

    def __getitem__(self, slot: int) -> Key | None:
        return self._slots[slot]

    def __setitem__(self, slot: int, key: Key) -> None:
        self._slots[slot] = key

    @property
    def rungs(self) -> list[int | None]:
        """Of each slot's key: the rung of the packet that it came with, None for the photo's, MISSING where there is none."""
        return [MISSING if key is None else key.rung for key in self._slots]

    def set_reference(self, integers: NDArray[np.integer[Any]], window: WindowIntegers = (0, 0, 0)) -> None:
        """Slot 0 := the fit of a photo, (35,) as ``quantiser.quantise`` gives it, when both ends have it."""
        self._slots[0] = Key(np.asarray(integers, np.int64).copy(), window)


def steps(tables: Tables, rung: int, role: int) -> Values:
    """(35,) int64: UNITs that one step of each number stands for. The perspective's is always 1."""
    out = np.full(PARAMETERS, tables.step[rung, role], np.int64)
    out[TURNED] = 1
    return out


KEEP = 6
"""What of a key is believed, in eighths: the rest pulls to the mean face."""


def predicted(key: Key, step: Values) -> Values:
    """(35,) the key in steps, rounded to the nearest, halves up."""
    whole: Values = (KEEP * key.values + 4 * step) // (8 * step)
    return whole


class ParameterDecoder:
    """Bytes -> integers. Holds nothing but the keys."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables or Tables.load()
        self.keys = Keys()
        self._state = np.zeros(5, np.int64)

    def decode(self, data: bytes) -> ParameterPacket:
        """One packet. Raises BitstreamError, and nothing else, for bytes that are not one; then nothing has changed."""
        t = self.tables
        state, body = self._state, _body(data)
        head = _take_head(state, body, self.keys.rungs, len(t.frames))
        rung, slot = head.rung, head.slot
        key = self.keys[slot]
        assert key is not None
        window = key.window
        if take_flag(state, body, _MOVED):
            x, y, zoom = (take_bits(state, body, 16) - 32768 for _ in range(3))
            window = (x, y, zoom)
        order = ORDER[int(t.frames[rung])]
        frames: list[FrameIntegers | None] = [None] * len(order)
        for place, role in order:
            confidence = take_bits(state, body, 2) if take_flag(state, body, _UNSURE) else SURE
            values = np.zeros(PARAMETERS, np.int64)
            if t.step[rung, role]:
                coded = values if role == P else values[:TURNED]
                base, shift = t.base[rung, role], t.shift[rung, role]
                take_frame(state, body, coded, base, shift, t.ladder, t.weight, t.expected)
                step = steps(t, rung, role)
                values = (values + predicted(key, step)) * step if role == P else values * step
            frames[place] = FrameIntegers(role, values, confidence)
        last = frames[-1]
        if not ended_well(state, body) or last is None or np.abs(last.values).max() > LARGEST:
            raise BitstreamError("parameter packet is damaged")
        stored = None
        if head.store is not None:
            new = key.blended(last.values, window, rung)
            self.keys[head.store] = new
            stored = (head.store, new.check)
        return ParameterPacket(rung, head.sequence, slot, tuple(f for f in frames if f is not None), window, stored)


class RungReader:
    """Tells the rung of packets in order, and nothing else of them: for who only counts frames."""

    def __init__(self, tables: Tables | None = None) -> None:
        self._known = len((tables or Tables.load()).frames)
        self._rungs: list[int | None] = [None] + [MISSING] * (SLOTS - 1)

    def rung(self, data: bytes) -> int:
        """Raises BitstreamError for what is no packet that these keys could decode."""
        state = np.zeros(5, np.int64)
        head = _take_head(state, _body(data), self._rungs, self._known)
        if head.store is not None:
            self._rungs[head.store] = head.rung
        return head.rung


class _Head(NamedTuple):
    sequence: int
    slot: int
    rung: int
    store: int | None


def _body(data: bytes) -> NDArray[np.uint8]:
    if not 1 <= len(data) <= MAX_PACKET:
        raise BitstreamError(f"parameter packet of {len(data)} bytes, 1 to {MAX_PACKET} are allowed")
    return np.frombuffer(b"" if data == EMPTY else data, np.uint8)


def _take_head(state: Values, body: NDArray[np.uint8], rungs: Sequence[int | None], known: int) -> _Head:
    """rungs: of each slot's key; None for a photo's, MISSING where there is none. known: rungs that this program has."""
    start_decoder(state, body)
    if take_flag(state, body, _RESERVED):
        raise BitstreamError("parameter packet of a later version: update this program")
    sequence = take_bits(state, body, 4)
    at = target(state, 4)
    slot = next(slot for slot in range(SLOTS) if at < _SLOTS[slot + 1])
    take(state, body, _SLOTS[slot], _SLOTS[slot + 1] - _SLOTS[slot], 4)
    usual = rungs[slot]
    if usual == MISSING:
        raise BitstreamError(f"parameter packet against key {slot}, which never came")
    if usual is None:
        rung = take_bits(state, body, 2)
        named = rung == _SHORT
    else:
        rung, named = usual, take_flag(state, body, _OTHER)
    if named:
        rung = take_bits(state, body, 4)
    if rung >= known:
        raise BitstreamError(f"parameter packet of rung {rung}, this program knows {known}: update it")
    store = take_bits(state, body, 2) if take_flag(state, body, _STORE) else None
    if store == 0:
        raise BitstreamError("parameter packet orders a key in slot 0, which is the photo's")
    return _Head(sequence, slot, rung, store)


def _put_rung(state: Values, out: NDArray[np.uint8], key: Key, rung: int) -> None:
    if key.rung is None:
        put_bits(state, out, min(rung, _SHORT), 2)
    else:
        put_flag(state, out, rung != key.rung, _OTHER)
    if (rung >= _SHORT) if key.rung is None else (rung != key.rung):
        put_bits(state, out, rung, 4)


def header_bits(key: Key, slot: int, rung: int, moved: bool, unsure: bool) -> float:
    """About what a packet of one frame takes besides its numbers and an order to store."""
    bits = 4.2 - np.log2((_SLOTS[slot + 1] - _SLOTS[slot]) / 16)
    bits += (2 if rung < _SHORT else 6) if key.rung is None else (0.02 if rung == key.rung else 10)
    return float(bits + (56 if moved else 0) + (8 if unsure else 0))


def write_packet(tables: Tables, packet: ParameterPacket, key: Key, numbers: list[Values], store: int | None) -> bytes:
    """Bytes of a packet. numbers: what is coded of each frame, in ORDER; store: the slot to store in, if any.

    The packet's ``frames`` give the confidences alone; every number must be within MAXIMUM.
    """
    state, out = np.zeros(5, np.int64), np.zeros(2048, np.uint8)
    start_encoder(state)
    put_flag(state, out, False, _RESERVED)
    put_bits(state, out, packet.sequence, 4)
    put(state, out, _SLOTS[packet.slot], _SLOTS[packet.slot + 1] - _SLOTS[packet.slot], 4)
    _put_rung(state, out, key, packet.rung)
    put_flag(state, out, store is not None, _STORE)
    if store is not None:
        put_bits(state, out, store, 2)
    moved = packet.window != key.window
    put_flag(state, out, moved, _MOVED)
    if moved:
        for number in packet.window:
            put_bits(state, out, number + 32768, 16)
    for (place, role), values in zip(ORDER[int(tables.frames[packet.rung])], numbers, strict=True):
        confidence = packet.frames[place].confidence
        put_flag(state, out, confidence != SURE, _UNSURE)
        if confidence != SURE:
            put_bits(state, out, confidence, 2)
        if tables.step[packet.rung, role]:
            base, shift = tables.base[packet.rung, role], tables.shift[packet.rung, role]
            put_frame(state, out, values, base, shift, tables.ladder, tables.weight, tables.expected)
    return out[: finish(state, out)].tobytes() or EMPTY


def encode_fit(integers: NDArray[np.integer[Any]], tables: Tables | None = None) -> bytes:
    """A photo's fit, (35,) as ``quantiser.quantise`` gives it, from nothing: about 30 bytes, within half a step of FIT."""
    t = tables or Tables.load()
    step = steps(t, 0, FIT)
    values = np.clip((2 * np.asarray(integers, np.int64) + step) // (2 * step), -MAXIMUM, MAXIMUM)
    state, out = np.zeros(5, np.int64), np.zeros(512, np.uint8)
    start_encoder(state)
    put_frame(state, out, values, t.base[0, FIT], t.shift[0, FIT], t.ladder, t.weight, t.expected)
    return out[: finish(state, out)].tobytes()


def decode_fit(data: bytes, tables: Tables | None = None) -> Values:
    """(35,) int64: the integers that both ends then use. Raises BitstreamError for bytes that are not a fit."""
    t = tables or Tables.load()
    if len(data) > MAX_PACKET:
        raise BitstreamError(f"fit of {len(data)} bytes, at most {MAX_PACKET} are allowed")
    state, body, values = np.zeros(5, np.int64), np.frombuffer(data, np.uint8), np.zeros(PARAMETERS, np.int64)
    start_decoder(state, body)
    take_frame(state, body, values, t.base[0, FIT], t.shift[0, FIT], t.ladder, t.weight, t.expected)
    values *= steps(t, 0, FIT)
    if not ended_well(state, body) or np.abs(values).max() > LIMIT:
        raise BitstreamError("a photo's fit is damaged")
    return values
