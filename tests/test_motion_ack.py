"""Receipts of motion packets: what was decoded is named, whatever order it came in."""

import random

import pytest

from codec.errors import BitstreamError
from codec.motion_ack import SPAN, MotionReceipts, acknowledged


def test_what_came_is_named_oldest_first():
    receipts = MotionReceipts()
    for number in (65530, 65532, 0, 2, 65534, 8, 7):
        data = receipts.add(number)
    assert acknowledged(data) == [65530, 65532, 65534, 0, 2, 7, 8]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_names_what_came_of_the_last_frames(seed):
    chance = random.Random(seed)
    receipts, came = MotionReceipts(), []
    for number in range(65400, 65400 + 400, 2):
        if chance.random() < 0.8:
            came.append(number)
    late = sorted(came, key=lambda number: number + chance.uniform(0, 12))
    for number in late:
        data = receipts.add(number % 65536)
    newest = max(late)
    assert acknowledged(data) == [n % 65536 for n in came if newest - SPAN <= n <= newest]


def test_a_long_silence_forgets_what_was_before():
    receipts = MotionReceipts()
    receipts.add(1)
    assert acknowledged(receipts.add(1 + SPAN)) == [1, 1 + SPAN]
    assert acknowledged(receipts.add(500)) == [500]
    assert acknowledged(receipts.add(30000)) == [30000]


def test_an_old_one_is_not_news():
    receipts = MotionReceipts()
    receipts.add(500)
    assert acknowledged(receipts.add(300)) == [500]


@pytest.mark.parametrize("size", [0, 3, 7, 9])
def test_other_sizes_are_refused(size):
    with pytest.raises(BitstreamError):
        acknowledged(bytes(size))
