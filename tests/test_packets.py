"""Frame packets: what goes in comes out, and bad bytes raise BitstreamError alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.packets import FramePacket, decode_frame, encode_frame
from codec.parameters import PARAMETERS, FrameParameters, Window
from codec.fixed_quantiser import SCALE, STEPS

RNG = np.random.default_rng(1)


def parameters(window: Window | None = None) -> FrameParameters:
    vector = np.concatenate((RNG.normal(size=28), [140.0, 0.1, -0.3, 0.05, 128.0, 120.0, 0.0])).astype(np.float32)
    return FrameParameters.from_vector(vector, window, 0.8)


def test_a_frame_survives_within_half_a_step():
    sent = FramePacket(65535, 4_000_000_000, parameters(), held=False)
    got = decode_frame(encode_frame(sent))
    assert (got.sequence, got.time_ms, got.held) == (sent.sequence, sent.time_ms, sent.held)
    error = np.abs(got.parameters.vector() - sent.parameters.vector())
    bound = STEPS * 0.501
    bound[SCALE] *= 141
    assert (error <= bound + 1e-4).all()
    assert got.parameters.confidence == pytest.approx(0.8, abs=1 / 255)
    assert got.parameters.window.still


def test_the_window_travels_only_when_it_moved():
    still = encode_frame(FramePacket(0, 0, parameters()))
    moved = encode_frame(FramePacket(0, 0, parameters(Window(-12.25, 7.5, 1.5))))
    assert len(moved) == len(still) + 6
    window = decode_frame(moved).parameters.window
    assert (window.x, window.y) == (-12.25, 7.5)
    assert window.zoom == pytest.approx(1.5, rel=1e-3)


def test_absurd_parameters_saturate_and_stay_finite():
    vector = np.full(PARAMETERS, np.nan, np.float32)
    vector[::3], vector[1::3] = np.inf, -1e30
    packet = FramePacket(0, 0, FrameParameters.from_vector(vector))
    assert np.isfinite(decode_frame(encode_frame(packet)).parameters.vector()).all()


def test_held_frames_say_so():
    assert decode_frame(encode_frame(FramePacket(1, 2, parameters(), held=True))).held


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_bitstream_error(data):
    try:
        packet = decode_frame(data)
    except BitstreamError:
        return
    assert np.isfinite(packet.parameters.vector()).all()


@given(st.integers(0, 78 * 8 - 1))
def test_flipped_bits_decode_or_raise_bitstream_error(bit):
    data = bytearray(encode_frame(FramePacket(5, 6, parameters())))
    data[bit // 8] ^= 1 << bit % 8
    try:
        packet = decode_frame(bytes(data))
    except BitstreamError:
        return
    assert np.isfinite(packet.parameters.vector()).all()


def test_another_version_is_named():
    data = bytearray(encode_frame(FramePacket(5, 6, parameters())))
    data[0] = 0xF1
    with pytest.raises(BitstreamError, match="version 15"):
        decode_frame(bytes(data))
