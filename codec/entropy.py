"""A range coder in integers, and the ladder of distributions that whole numbers are coded with.

The coder is a 32-bit range coder with carry; a packet ends as early as its last interval allows, and bytes that are missing at
the end read as zero (``docs/bitstream-parameters.md``). All state is int64, all arithmetic exact.

A whole number v is coded as a token, a sign and raw bits: ``|v|`` itself below DIRECT; from there, with
``e = floor(log2(|v| - DIRECT + 1))``, the token ``DIRECT + e`` and e raw bits. Tokens have one distribution for each of CLASSES
expected magnitudes, a factor 2^(1/3) apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from codec.errors import BitstreamError

FREQUENCY_BITS = 15
DIRECT = 12
TOKENS = DIRECT + 14
CLASSES = 48
CLASS_OF_ONE = 27
"""The class whose expected magnitude is 1; class c expects 2^((c - CLASS_OF_ONE) / 3)."""

MAXIMUM = (1 << 14) + DIRECT - 2
"""Largest magnitude that can be coded."""

State = NDArray[np.int64]
"""(5,) int64. Encoder: low, range, bytes written. Decoder: code, range, bytes read, damaged, length."""

Cumulative = NDArray[np.int64]
"""(CLASSES, TOKENS + 1) int64, from 0 to 2^FREQUENCY_BITS."""

_TOP = 1 << 32
_BOTTOM = 1 << 24


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def start_encoder(state: Any) -> None:
    """A fresh encoder's state."""
    state[0], state[1], state[2] = 0, _TOP - 1, 0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _carry(state: Any, out: Any) -> None:
    if state[0] >= _TOP:
        state[0] -= _TOP
        i = state[2] - 1
        while out[i] == 255:
            out[i] = 0
            i -= 1
        out[i] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put(state: Any, out: Any, start: int, size: int, bits: int) -> None:
    """Code the interval [start, start + size) of 2^bits; ``out`` (uint8) must have room for 4 bytes a symbol."""
    part = state[1] >> bits
    state[0] += part * start
    state[1] = part * size
    _carry(state, out)
    while state[1] < _BOTTOM:
        out[state[2]] = state[0] >> 24
        state[2] += 1
        state[0] = (state[0] & 0xFFFFFF) << 8
        state[1] <<= 8


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def finish(state: Any, out: Any) -> int:
    """Write the fewest bytes that name the last interval; returns the length, trailing zeros left out."""
    for count in range(5):
        unit = 1 << (32 - 8 * count)
        value = (state[0] + unit - 1) // unit * unit
        if value < state[0] + state[1]:
            state[0] = value
            _carry(state, out)
            for k in range(count):
                out[state[2]] = (state[0] >> (24 - 8 * k)) & 255
                state[2] += 1
            break
    while state[2] > 0 and out[state[2] - 1] == 0:
        state[2] -= 1
    return int(state[2])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def start_decoder(state: Any, data: Any) -> None:
    """A decoder at the first of the bytes in ``data`` (uint8)."""
    state[0], state[1], state[2], state[3], state[4] = 0, _TOP - 1, 0, 0, len(data)
    for _ in range(4):
        state[0] = state[0] << 8 | (data[state[2]] if state[2] < len(data) else 0)
        state[2] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def target(state: Any, bits: int) -> int:
    """Where in 0..2^bits - 1 the next symbol's interval lies."""
    return int(min(state[0] // (state[1] >> bits), (1 << bits) - 1))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take(state: Any, data: Any, start: int, size: int, bits: int) -> None:
    """Step over the interval that ``target`` fell into. Bytes that no encoder writes set ``damaged``."""
    part = state[1] >> bits
    state[0] -= part * start
    state[1] = part * size
    if state[0] >= state[1]:
        state[3] = 1
        state[0] = state[1] - 1
    while state[1] < _BOTTOM:
        state[0] = state[0] << 8 | (data[state[2]] if state[2] < len(data) else 0)
        state[2] += 1
        state[1] <<= 8


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def ended_well(state: Any, data: Any) -> bool:
    """Whether the bytes were a whole coded packet: nothing left over, no zero byte at the end."""
    return bool(state[3] == 0 and len(data) <= state[2] and (len(data) == 0 or data[len(data) - 1] != 0))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put_bits(state: Any, out: Any, value: int, bits: int) -> None:
    """Code ``bits`` (at most 16) equally likely bits."""
    put(state, out, value, 1, bits)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take_bits(state: Any, data: Any, bits: int) -> int:
    """Inverse of ``put_bits``."""
    value = target(state, bits)
    take(state, data, value, 1, bits)
    return int(value)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put_flag(state: Any, out: Any, flag: bool, frequency: int) -> None:
    """Code a flag that is set with a probability of frequency / 2^FREQUENCY_BITS."""
    zero = (1 << FREQUENCY_BITS) - frequency
    if flag:
        put(state, out, zero, frequency, FREQUENCY_BITS)
    else:
        put(state, out, 0, zero, FREQUENCY_BITS)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take_flag(state: Any, data: Any, frequency: int) -> bool:
    """Inverse of ``put_flag``."""
    zero = (1 << FREQUENCY_BITS) - frequency
    flag = target(state, FREQUENCY_BITS) >= zero
    take(state, data, zero if flag else 0, frequency if flag else zero, FREQUENCY_BITS)
    return bool(flag)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put_number(state: Any, out: Any, value: int, cumulative: Any) -> None:
    """Code a whole number of at most MAXIMUM under one class's cumulative frequencies, (TOKENS + 1,)."""
    magnitude = abs(value)
    token, extra = magnitude, 0
    if magnitude >= DIRECT:
        rest = magnitude - DIRECT + 1
        while rest >> (extra + 1):
            extra += 1
        token = DIRECT + extra
    put(state, out, cumulative[token], cumulative[token + 1] - cumulative[token], FREQUENCY_BITS)
    if magnitude:
        put(state, out, 1 if value < 0 else 0, 1, 1)
    if extra:
        put(state, out, magnitude - DIRECT + 1 - (1 << extra), 1, extra)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take_number(state: Any, data: Any, cumulative: Any) -> int:
    """Inverse of ``put_number``."""
    at = target(state, FREQUENCY_BITS)
    token = 0
    while cumulative[token + 1] <= at:
        token += 1
    take(state, data, cumulative[token], cumulative[token + 1] - cumulative[token], FREQUENCY_BITS)
    if token == 0:
        return 0
    negative = take_bits(state, data, 1)
    magnitude = token
    if token > DIRECT:
        extra = token - DIRECT
        magnitude = DIRECT - 1 + (1 << extra) + take_bits(state, data, extra)
    return -magnitude if negative else magnitude


def code_lengths(cumulative: Cumulative) -> NDArray[np.float32]:
    """(CLASSES, TOKENS) float32: bits of each token with its sign and raw bits. For the sender's choices only."""
    frequency = np.diff(cumulative, axis=1)
    extra = np.concatenate(([0.0], np.ones(DIRECT - 1), 1.0 + np.arange(TOKENS - DIRECT)))
    lengths: NDArray[np.float32] = (FREQUENCY_BITS - np.log2(frequency) + extra).astype(np.float32)
    return lengths


def encode_numbers(values: NDArray[np.integer[Any]], classes: NDArray[np.integer[Any]], ladder: Cumulative) -> bytes:
    """Whole numbers, each under its class, to bytes. Raises ValueError beyond MAXIMUM."""
    if np.abs(values).max(initial=0) > MAXIMUM:
        raise ValueError(f"a number beyond {MAXIMUM} cannot be coded")
    state, out = np.zeros(5, np.int64), np.zeros(16 + 12 * len(values), np.uint8)
    start_encoder(state)
    for value, number in zip(values, classes, strict=True):
        put_number(state, out, int(value), ladder[number])
    return out[: finish(state, out)].tobytes()


def decode_numbers(data: bytes, classes: NDArray[np.integer[Any]], ladder: Cumulative) -> NDArray[np.int64]:
    """Inverse of ``encode_numbers``. Raises BitstreamError for bytes that it did not write."""
    state, bytes_in = np.zeros(5, np.int64), np.frombuffer(data, np.uint8)
    start_decoder(state, bytes_in)
    values = np.array([take_number(state, bytes_in, ladder[number]) for number in classes], np.int64)
    if not ended_well(state, bytes_in):
        raise BitstreamError("coded numbers are damaged")
    return values
