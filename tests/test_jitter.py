"""The jitter buffer: order, playout times, loss counts, concealment."""

import random
from itertools import pairwise

import pytest

from receiver.jitter import CONCEAL_S, MAX_DELAY_S, SETTLING, JitterBuffer


def play(arrivals, frames=1, until=None, step=0.001):
    """Feed (arrival, packet number) pairs and poll every millisecond: [(shown at, frame number, concealed)], buffer."""
    buffer, shown, now = JitterBuffer(), [], 0.0
    arrivals = sorted(arrivals)
    until = until or arrivals[-1][0] + 1.0
    while now < until:
        while arrivals and arrivals[0][0] <= now:
            at, number = arrivals.pop(0)
            buffer.push(number % 16, (number * frames + frames - 1) * 0.04, frames, at)
        while (due := buffer.pop(now)) is not None:
            shown.append((now, round(due.time_s / 0.04), due.concealed))
        now += step
    return shown, buffer


def numbers(shown, concealed=False):
    return [n for _, n, c in shown if c == concealed]


def test_steady_packets_all_come_out_in_order_at_once():
    shown, buffer = play([(5.0 + 0.04 * i, i) for i in range(100)])
    assert numbers(shown) == list(range(100))
    assert max(at - 5.0 - 0.04 * n for at, n, c in shown if not c) < 0.0015
    assert buffer.statistics.lost == buffer.statistics.late == 0
    assert buffer.delay_s < 1e-6


def test_bundles_come_out_frame_by_frame_at_the_source_pace():
    shown, buffer = play([(0.16 * i + 0.12, i) for i in range(50)], frames=4)
    assert numbers(shown) == list(range(200))
    steps = [b - a for (a, _, _), (b, _, _) in pairwise(shown[40:-9])]
    assert max(steps) < 0.0425
    assert buffer.statistics.lost == 0


def test_reordered_within_the_jitter_come_out_in_order():
    rng = random.Random(1)
    shown, buffer = play([(0.04 * i + rng.uniform(0, 0.06), i) for i in range(500)])
    every = [n for _, n, _ in shown]
    assert every == sorted(every)
    assert len([n for n in numbers(shown) if n >= 100]) >= 0.9 * 400
    assert 0.04 < buffer.delay_s < 0.08


def test_missing_packets_are_counted_and_concealed():
    rng = random.Random(2)
    kept = [i for i in range(300) if i in (0, 299) or rng.random() > 0.25]
    shown, buffer = play([(0.04 * i, i) for i in kept])
    assert numbers(shown) == kept
    assert buffer.statistics.lost == 300 - len(kept)
    assert len(numbers(shown, concealed=True)) >= 0.9 * (300 - len(kept))
    times = [at for at, _, _ in shown]
    assert max(b - a for a, b in pairwise(times)) < 0.2


def test_an_outage_is_concealed_for_a_while_and_counted_whole():
    shown, buffer = play([(0.04 * i, i) for i in [*range(100), *range(200, 300)]])
    assert buffer.statistics.lost == 100
    hidden = [n for n in numbers(shown, concealed=True) if n < 200]
    assert hidden == list(range(100, 100 + round(CONCEAL_S / 0.04)))
    first_after = next(at for at, n, c in shown if n >= 200 and not c)
    assert first_after - 8.0 < 0.0025


def test_a_packet_older_than_the_picture_is_late_and_a_copy_is_ignored():
    buffer = JitterBuffer()
    buffer.push(0, 0.0, 1, 0.0)
    buffer.push(2, 0.08, 1, 0.08)
    due = buffer.pop(0.085)
    assert due is not None
    assert due.time_s == 0.08
    assert buffer.statistics.lost == 1
    buffer.push(1, 0.04, 1, 0.085)
    buffer.push(2, 0.08, 1, 0.085)
    assert buffer.pop(0.09) is None
    assert buffer.statistics.late == 1
    assert buffer.statistics.duplicates == 1
    assert buffer.statistics.lost == 0


def test_a_late_but_newer_packet_is_shown_at_once():
    buffer = JitterBuffer()
    for i in range(50):
        buffer.push(i % 16, 0.04 * i, 1, 0.04 * i)
    while buffer.pop(2.0):
        pass
    buffer.push(50 % 16, 2.0, 1, 2.9)
    due = buffer.pop(2.9 + 1e-6)
    assert due is not None
    assert due.time_s == 2.0


def test_the_guess_counts_packets_whatever_the_queue_and_believes_time_after_a_pause():
    buffer = JitterBuffer()
    assert buffer.guess(0, 1, 7.0) is None
    for i in range(100):
        buffer.push(i % 16, 0.04 * i, 1, 7.0 + 0.04 * i)
    newest, arrival = 0.04 * 99, 7.0 + 0.04 * 99
    for sequence, late, expected in ((100, 0.3, 0.04), (103, 0.2, 0.16), (98, 0.05, -0.04), (100, 1.0, 1.0)):
        guess = buffer.guess(sequence % 16, 1, arrival + late)
        assert guess is not None
        assert abs(guess - newest - expected) < 1e-6


def test_the_delay_is_bounded_and_recovers():
    buffer = JitterBuffer()
    for i in range(100):
        buffer.push(i % 16, 0.04 * i, 1, 0.04 * i + (5.0 if i % 2 else 0.0))
    assert 0.2 < buffer.delay_s <= MAX_DELAY_S
    for i in range(100, 1000):
        buffer.push(i % 16, 0.04 * i, 1, 0.04 * i)
        buffer.pop(0.04 * i)
    assert buffer.delay_s < 0.005


def test_the_first_packets_teach_nothing():
    buffer = JitterBuffer()
    for i in range(SETTLING - 1):
        buffer.push(i % 16, 0.04 * i, 1, 0.04 * i + 0.5 / (i + 1))
        assert buffer.delay_s == 0.0


@pytest.mark.parametrize(("frames", "new"), [(2, 1), (4, 2), (4, 1)])
def test_frames_that_ride_along_again_are_shown_once(frames, new):
    rng, buffer, shown = random.Random(4), JitterBuffer(), []
    for number in range(150):
        last = frames - 1 + number * new
        arrival = 0.04 * last + 0.05
        if rng.random() > 0.2 or number < 20:
            buffer.push(number % 16, 0.04 * last, frames, arrival)
        for tick in range(8 * new):
            due = buffer.pop(arrival + 0.005 * tick)
            if due is not None:
                shown.append((round(due.time_s / 0.04), due.concealed))
    order = [n for n, _ in shown]
    assert order == sorted(set(order))
    assert len(order) >= 150 * new - 3
    assert buffer.statistics.skipped <= frames
    assert buffer.statistics.lost <= sum(concealed for _, concealed in shown)


def test_a_bundle_that_a_queue_held_up_is_not_taken_for_a_later_one():
    buffer = JitterBuffer()
    for number in range(4):
        buffer.push(number, 0.16 * number, 4, 1.0 + 0.16 * number)
    guess = buffer.guess(4, 4, 1.0 + 0.16 * 4 + 0.7)
    assert guess is not None
    assert abs(guess - 0.64) < 0.1
