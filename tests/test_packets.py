"""Messages of the parameters channel: the time of a frame survives in one byte; windows survive in integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.packets import TIME_UNIT_S, stamped, unstamped, window_integers, window_of
from codec.parameters import Window


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
