"""The numbers of one frame in a packet: which class each is coded under, and the loops over them, in integers.

The class of number i is ``base[i]``, moved by what the frame's earlier numbers turned out to be: A sums their magnitudes over
their expected ones, X what that sum was expected to be, both forgetting an eighth at each step; where A / X stands beside 1/2,
3/4, 5/4 and 2 is the context, and the class is shifted by ``shift[context]``.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from codec.entropy import CLASSES, DIRECT, put_number, take_number

START = 512
"""A and X before the first number."""

CAP = 4096
"""Most that one number adds to A."""


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def class_of(base: int, shift: Any, a: int, x: int) -> int:
    """The class under which the next number is coded."""
    context = 0
    if 8 * a >= 4 * x:
        context += 1
    if 8 * a >= 6 * x:
        context += 1
    if 8 * a >= 10 * x:
        context += 1
    if 8 * a >= 16 * x:
        context += 1
    number = base + shift[context]
    return int(max(0, min(CLASSES - 1, number)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def put_frame(
    state: Any, out: Any, values: Any, base: Any, shift: Any, ladder: Any, weight: Any, expected: Any
) -> None:
    """Code values (N,) int64 under base (N,)."""
    a, x = START, START
    for i in range(len(values)):
        number = class_of(base[i], shift, a, x)
        put_number(state, out, values[i], ladder[number])
        a = a - (a >> 3) + min(abs(values[i]) * weight[base[i]], CAP)
        x = x - (x >> 3) + expected[base[i]]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def take_frame(
    state: Any, data: Any, values: Any, base: Any, shift: Any, ladder: Any, weight: Any, expected: Any
) -> None:
    """Inverse of ``put_frame``; fills values."""
    a, x = START, START
    for i in range(len(values)):
        number = class_of(base[i], shift, a, x)
        value = take_number(state, data, ladder[number])
        values[i] = value
        a = a - (a >> 3) + min(abs(value) * weight[base[i]], CAP)
        x = x - (x >> 3) + expected[base[i]]


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def length_of(value: int, lengths: Any) -> float:
    """Bits of a number under one class's ``lengths`` (TOKENS,)."""
    magnitude = abs(value)
    if magnitude < DIRECT:
        return float(lengths[magnitude])
    rest, extra = magnitude - DIRECT + 1, 0
    while rest >> (extra + 1):
        extra += 1
    return float(lengths[min(DIRECT + extra, len(lengths) - 1)])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def frame_length(values: Any, base: Any, shift: Any, lengths: Any, weight: Any, expected: Any) -> float:
    """Bits of a whole frame."""
    a, x, bits = START, START, 0.0
    for i in range(len(values)):
        bits += length_of(values[i], lengths[class_of(base[i], shift, a, x)])
        a = a - (a >> 3) + min(abs(values[i]) * weight[base[i]], CAP)
        x = x - (x >> 3) + expected[base[i]]
    return bits
