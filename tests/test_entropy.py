"""The range coder: what goes in comes out, in nearly as few bits as the distributions allow, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.entropy import CLASSES, MAXIMUM, code_lengths, decode_numbers, encode_numbers
from codec.errors import BitstreamError
from codec.quantiser import Tables
from training.entropy import laplace_ladder, tokens

LADDER = Tables.load().ladder
NUMBERS = st.lists(st.tuples(st.integers(-MAXIMUM, MAXIMUM), st.integers(0, CLASSES - 1)), max_size=80)


@given(NUMBERS)
@settings(deadline=None)
def test_numbers_survive_under_any_classes(pairs: list[tuple[int, int]]):
    values, classes = np.array([v for v, _ in pairs], np.int64), np.array([c for _, c in pairs], np.int64)
    assert decode_numbers(encode_numbers(values, classes, LADDER), classes, LADDER).tolist() == values.tolist()


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_give_numbers_or_a_bitstream_error(data: bytes):
    classes = np.full(35, 25)
    try:
        values = decode_numbers(data, classes, LADDER)
    except BitstreamError:
        return
    assert (np.abs(values) <= MAXIMUM).all()


def test_the_length_is_the_entropy_and_less_than_a_byte():
    rng = np.random.default_rng(0)
    classes = rng.integers(20, 34, 2000)
    values = np.rint(rng.laplace(size=2000) * 2.0 ** ((classes - 27) / 3)).astype(np.int64)
    ladder = laplace_ladder()
    ideal = float(code_lengths(ladder)[classes, tokens(values)].sum())
    assert 0 <= 8 * len(encode_numbers(values, classes, ladder)) - ideal < 0.002 * ideal + 10


def test_likely_packets_are_empty():
    assert encode_numbers(np.zeros(35, np.int64), np.zeros(35, np.int64), LADDER) == b""


def test_carries_run_through_full_bytes():
    rng = np.random.default_rng(3)
    for _ in range(300):
        classes = rng.integers(0, CLASSES, 60)
        values = rng.integers(-3, 4, 60)
        data = encode_numbers(values, classes, LADDER)
        assert decode_numbers(data, classes, LADDER).tolist() == values.tolist()


def test_bytes_that_nobody_wrote_are_refused():
    classes = np.full(10, 27)
    data = encode_numbers(np.arange(10) - 5, classes, LADDER)
    for wrong in (data + b"\x00", data + b"\x01\x02\x03\x04\x05\x06", data[:-1] + b"\x00"):
        with pytest.raises(BitstreamError):
            decode_numbers(wrong, classes, LADDER)


def test_too_large_a_number_is_the_caller_s_mistake():
    with pytest.raises(ValueError, match="beyond"):
        encode_numbers(np.array([MAXIMUM + 1]), np.array([40]), LADDER)
