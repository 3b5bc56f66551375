"""One AV1 frame without its container, and what a hostile peer may send for one."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.still import decode_still, encode_still

ROWS, COLUMNS = np.mgrid[:48, :64]
PICTURE = np.stack((2 * COLUMNS, 3 * ROWS, 128 + 60 * np.sin(COLUMNS / 5)), 2).astype(np.uint8)
CODED = encode_still(PICTURE, 60)


def test_a_picture_comes_back_and_more_bytes_bring_it_nearer():
    coarse, fine = (encode_still(PICTURE, quality) for quality in (20, 80))
    errors = [np.abs(decode_still(data, 64, 48).astype(int) - PICTURE).mean() for data in (coarse, fine)]
    assert len(coarse) < len(fine)
    assert errors[1] < errors[0] < 12


def test_there_is_no_container_around_it():
    assert b"ftyp" not in CODED
    assert b"av1C" not in CODED
    assert len(encode_still(np.full((64, 64, 3), 128, np.uint8), 40)) < 60


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (256, 256)])
def test_another_size_than_announced_is_refused(size):
    with pytest.raises(BitstreamError):
        decode_still(CODED, *size)


def test_a_picture_that_is_too_large_is_refused_before_its_pixels_are_there():
    large = encode_still(np.zeros((512, 512, 3), np.uint8), 10)
    with pytest.raises(BitstreamError):
        decode_still(large, 512, 512)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes_decode_or_are_refused(data):
    damaged = bytearray(CODED)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    with contextlib.suppress(BitstreamError):
        assert decode_still(bytes(damaged), 64, 48).shape == (48, 64, 3)
