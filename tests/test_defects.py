"""An object that is gone since the photo was taken: it is found, and a photo that is new in its place alone takes it away."""

import cv2
import numpy as np
import pytest

from codec.motion import no_motion
from codec.parameters import SIZE, Region
from codec.photo_update import Rectangle, read_update
from sender.defects import Defects, feather
from sender.memory import MemoryPlanner, MemorySettings
from tests.test_memory import FIRST, opened, parameters, update

HAND = Rectangle(24, 176, 64, 48)


def with_hand(picture):
    out = picture.copy()
    out[HAND.rows, HAND.columns] = (255, 10, 10)
    return out


def learned(pairs, passed=0.08):
    defects = Defects()
    for truth, shown in pairs:
        defects.learn(truth, shown, FIRST, passed)
    return defects.worst()


def test_an_object_that_is_gone_is_found_where_it_was():
    found = learned([(FIRST, with_hand(FIRST))] * 20)
    assert found is not None
    assert found.box.left <= HAND.left
    assert found.box.left + found.box.width >= HAND.left + HAND.width
    assert found.box.top <= HAND.top
    assert found.box.top + found.box.height >= HAND.top + HAND.height
    assert found.box.width * found.box.height < 2.5 * HAND.width * HAND.height


def test_edges_a_pixel_off_and_what_moves_are_none():
    shifted = np.roll(FIRST, 2, 1)
    assert learned([(FIRST, shifted)] * 20) is None
    passing = [(FIRST, with_hand(FIRST)), (with_hand(FIRST), FIRST)] * 10
    assert learned(passing) is None


def test_another_photo_begins_anew_and_a_picture_that_is_wrong_all_over_is_no_place():
    defects = Defects()
    for _ in range(20):
        defects.learn(FIRST, with_hand(FIRST), FIRST, 0.08)
    defects.learn(FIRST, FIRST, FIRST.copy(), 0.08)
    assert defects.worst() is None
    assert learned([(np.full_like(FIRST, 250), np.zeros_like(FIRST))] * 20) is None


@pytest.mark.parametrize("box", [HAND, Rectangle(0, 200, 120, 56), Rectangle(8, 0, 64, 64)])
def test_the_place_has_soft_edges_within_itself(box):
    weight = feather(box)[..., 0]
    inside = np.zeros((SIZE, SIZE), bool)
    inside[box.rows, box.columns] = True
    assert weight[~inside].max() == 0
    assert weight.max() == pytest.approx(1.0)
    assert (weight[inside] > 0.9).mean() > 0.4
    if box.left == 0:
        assert weight[box.top + box.height // 2, 0] == pytest.approx(1.0)


def test_the_planner_takes_it_away_for_few_bytes_and_leaves_the_rest():
    memory, _ = opened()
    smooth = cv2.GaussianBlur(FIRST, (0, 0), 6)
    for message in update(memory, with_hand(smooth)):
        memory.add(message)
    frame = memory.driving(parameters(), no_motion(0, 1))
    planner = MemoryPlanner(memory, MemorySettings(better=1e9, worth=1e9))
    before = memory.warp.painted(frame, memory.warp.photos[1])
    truth = before.copy()
    truth[HAND.rows, HAND.columns] = smooth[HAND.rows, HAND.columns]
    sent = []
    for n in range(60):
        sent = planner.propose(truth, frame, planner.look(truth, frame, 0.08 * n), 0, 0.08 * n)
        if sent:
            break
    news = [memory.add(message) for message in sent][-1]
    assert news is not None
    assert news.region is Region.WHOLE
    assert read_update(sent[0]).size < 900
    assert np.abs(news.picture[HAND.rows, HAND.columns].astype(int) - truth[HAND.rows, HAND.columns]).mean() < 8
    away = np.abs(news.picture.astype(int) - before).max(2)
    away[HAND.top - 24 : HAND.top + HAND.height + 24, : HAND.left + HAND.width + 24] = 0
    assert np.abs(away).mean() < 1.5
