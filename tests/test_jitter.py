"""The jitter buffer: order, playout times, loss counts."""

import random

import numpy as np

from codec.packets import FramePacket
from codec.parameters import FrameParameters
from receiver.jitter import MAX_DELAY_S, JitterBuffer

PARAMETERS = FrameParameters.from_vector(np.zeros(35, np.float32))


def packet(number: int) -> FramePacket:
    return FramePacket(number & 0xFFFF, number * 40, PARAMETERS)


def drain(buffer: JitterBuffer, now: float) -> list[int]:
    shown = []
    while (frame := buffer.pop(now)) is not None:
        shown.append(frame.sequence)
    return shown


def play(arrivals: list[tuple[float, int]], step: float = 0.001) -> tuple[list[int], JitterBuffer]:
    """Feed (arrival, number) pairs and poll every millisecond."""
    buffer, shown, now = JitterBuffer(), [], 0.0
    arrivals = sorted(arrivals)
    while arrivals or buffer.next_due() is not None:
        while arrivals and arrivals[0][0] <= now:
            at, number = arrivals.pop(0)
            buffer.push(packet(number), at)
        shown += drain(buffer, now)
        now += step
    return shown, buffer


def test_steady_packets_all_come_out_in_order_at_once():
    shown, buffer = play([(5.0 + 0.04 * i, i) for i in range(100)])
    assert shown == list(range(100))
    assert buffer.statistics.lost == buffer.statistics.late == 0
    assert buffer.delay_s < 1e-6


def test_reordered_within_the_jitter_come_out_in_order():
    rng = random.Random(1)
    arrivals = [(0.04 * i + rng.uniform(0, 0.06), i) for i in range(500)]
    shown, buffer = play(arrivals)
    assert shown == sorted(shown)
    assert len([n for n in shown if n >= 100]) >= 0.93 * 400
    assert 0.04 < buffer.delay_s < 0.08


def test_missing_packets_are_counted_and_stall_nothing():
    rng = random.Random(2)
    kept = [i for i in range(300) if i in (0, 299) or rng.random() > 0.25]
    shown, buffer = play([(0.04 * i, i) for i in kept])
    assert shown == kept
    assert buffer.statistics.lost == 300 - len(kept)


def test_a_packet_older_than_the_picture_is_late_and_a_copy_is_ignored():
    buffer = JitterBuffer()
    buffer.push(packet(0), 0.0)
    buffer.push(packet(2), 0.08)
    assert drain(buffer, 1.0) == [2]
    buffer.push(packet(1), 1.0)
    buffer.push(packet(2), 1.0)
    assert drain(buffer, 2.0) == []
    assert buffer.statistics.late == 1
    assert buffer.statistics.duplicates == 1


def test_a_late_but_newer_packet_is_shown_at_once():
    buffer = JitterBuffer()
    for i in range(50):
        buffer.push(packet(i), 0.04 * i)
    drain(buffer, 2.0)
    buffer.push(packet(50), 2.9)
    assert drain(buffer, 2.9 + 1e-6) == [50]


def test_sequence_numbers_wrap():
    numbers = range(65500, 65600)
    shown, buffer = play([(0.04 * (i - 65500), i) for i in numbers])
    assert shown == [n & 0xFFFF for n in numbers]
    assert buffer.statistics.lost == 0


def test_the_delay_is_bounded_and_recovers():
    buffer = JitterBuffer()
    for i in range(100):
        buffer.push(packet(i), 0.04 * i + (5.0 if i % 2 else 0.0))
    assert buffer.delay_s <= MAX_DELAY_S
    for i in range(100, 1000):
        buffer.push(packet(i), 0.04 * i)
        drain(buffer, 0.04 * i)
    assert buffer.delay_s < 0.005
