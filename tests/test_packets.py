"""Messages of the parameters channel: the time of a frame survives in one byte; windows survive in integers."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.motion_ack import acknowledged
from codec.packets import (
    MAX_BACK,
    MAX_RIDING,
    MAX_SECTIONS,
    TIME_UNIT_S,
    Riding,
    frame_number,
    frame_period_ms,
    split_motion,
    stamped,
    time_units,
    unstamped,
    window_integers,
    window_of,
    with_motion,
)
from codec.parameters import Window

GOLDEN = Path(__file__).parent / "golden" / "motion_call.json"


@given(st.floats(0, 1e5), st.floats(-0.5, 0.5))
def test_a_time_survives_with_a_guess_half_a_second_off(time_s, error):
    got, packet = unstamped(stamped(1000 * time_s, b"packet"), time_s + error)
    assert packet == b"packet"
    assert abs(got - time_s) <= TIME_UNIT_S / 2 + 1e-6


def test_a_worse_guess_is_wrong_by_a_whole_turn():
    got, _ = unstamped(stamped(10_000, b"x"), 10.6)
    assert got == pytest.approx(10.0 + 256 * TIME_UNIT_S)


@pytest.mark.parametrize("data", [b"", b"\x00"])
def test_truncated_messages_are_refused(data):
    with pytest.raises(BitstreamError):
        unstamped(data, 0.0)


def test_windows_survive_and_saturate():
    window = window_of(window_integers(Window(-12.25, 7.5, 1.5)))
    assert (window.x, window.y) == (-12.25, 7.5)
    assert window.zoom == pytest.approx(1.5, rel=1e-3)
    assert window_of(window_integers(Window())).still
    assert window_of(window_integers(Window(1e9, -1e9, 0.0))).x == 8191.75


riding_packets = st.lists(
    st.builds(Riding, st.integers(0, MAX_BACK), st.binary(min_size=1, max_size=MAX_RIDING)), max_size=MAX_SECTIONS
)
parameter_packets = st.binary(max_size=60).filter(lambda data: not data or data[0] >> 4 != 15)


@given(riding_packets, parameter_packets)
def test_motion_packets_ride_before_the_parameters(riding, packet):
    assert split_motion(with_motion(riding, packet)) == (riding, packet)


@pytest.mark.parametrize("data", [b"\xf0", b"\xf1\x00", b"\xf1\x02x", b"\xf0\x01x" * (MAX_SECTIONS + 1)])
def test_sections_that_end_too_early_or_are_too_many_are_refused(data):
    with pytest.raises(BitstreamError):
        split_motion(data)


@pytest.mark.parametrize(
    "riding", [[Riding(16, b"x")], [Riding(0, b"")], [Riding(0, bytes(256))], [Riding(0, b"x")] * 5]
)
def test_what_cannot_ride_is_not_written(riding):
    with pytest.raises(ValueError, match="motion"):
        with_motion(riding)


@given(st.floats(0, 1e5), st.sampled_from([1000 / 24, 40.0, 1000 / 29.97, 1000 / 15]), st.floats(-0.4, 0.4))
def test_both_ends_count_the_same_frame(time_s, period_ms, error):
    there, _ = unstamped(stamped(1000 * time_s, b"x"), time_s + error)
    assert frame_number(there, period_ms) == frame_number(time_s, period_ms)


def test_frames_at_an_even_pace_have_successive_numbers():
    numbers = [frame_number(1000 + i / 24, 1000 / 24) for i in range(2000)]
    assert {(b - a) % 65536 for a, b in pairwise(numbers)} == {1}


@pytest.mark.parametrize("fps", [None, "30", 0.5, 241.0, float("nan"), float("inf"), 30])
def test_a_rate_that_is_none_counts_as_25(fps):
    assert frame_period_ms(fps) == 40.0
    assert frame_period_ms(24.0) == pytest.approx(41.667, abs=1e-3)


def test_golden_messages_are_read_as_the_page_says():
    golden = json.loads(GOLDEN.read_text())
    for entry in golden["messages"]:
        data = bytes.fromhex(entry["data"])
        time_s, body = unstamped(data, entry["near_s"])
        riding, packet = split_motion(body)
        number = frame_number(time_s, frame_period_ms(entry["fps"]))
        assert time_units(time_s) == entry["units"]
        assert number == entry["number"]
        assert [[(number - r.back) % 65536, r.packet.hex()] for r in riding] == entry["motion"]
        assert packet.hex() == entry["packet"]
        assert stamped(1000 * time_s, with_motion(riding, packet)) == data
    for text in golden["damaged"]:
        with pytest.raises(BitstreamError):
            split_motion(bytes.fromhex(text)[1:])
    for entry in golden["receipts"]:
        assert acknowledged(bytes.fromhex(entry["data"])) == entry["numbers"]
