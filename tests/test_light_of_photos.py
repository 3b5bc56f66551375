"""Photos in another light: the message, the picture, and the sender who sees that it is wanted."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.light import MOST, light_message, lit, read_light, unlit
from codec.motion import no_motion
from sender.memory import MemoryPlanner, MemorySettings
from tests.test_memory import opened, parameters, scene, still, update

GAINS = st.tuples(*(st.integers(-MOST, MOST) for _ in range(3)))


@pytest.mark.parametrize("case", json.loads((Path(__file__).parent / "golden" / "light.json").read_text()))
def test_golden_lights(case):
    photo_id, light = read_light(bytes.fromhex(case["message"]))
    assert (photo_id, list(light)) == (case["photo_id"], case["light"])
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert lit(grey, light)[0].T.tolist() == case["shown"]


@given(st.integers(0, 255), GAINS)
def test_a_message_comes_back_and_light_can_be_taken_off(photo_id, light):
    assert read_light(light_message(photo_id, light)) == (photo_id, light)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    shown = lit(grey, light)
    back = unlit(shown, light).astype(int)
    assert np.abs(back - grey)[shown < 255].max() <= 2


@given(st.binary(max_size=12))
def test_other_bytes_raise_bitstream_error_or_are_a_light(data):
    try:
        _, light = read_light(data)
    except BitstreamError:
        return
    assert len(data) == 5
    assert max(map(abs, light)) <= MOST


def test_a_gain_that_is_too_large_is_not_sent():
    with pytest.raises(ValueError, match="at most"):
        light_message(0, (0, MOST + 1, 0))


def test_frames_are_shown_in_the_light_and_the_memory_is_not():
    memory, _ = opened()
    frame = memory.driving(parameters())
    before = still(memory, frame)
    assert memory.add(light_message(0, (-16, 0, 8))) is not None
    assert np.array_equal(still(memory, frame), before)
    assert np.array_equal(memory.warp.generate(frame), lit(before, (-16, 0, 8)))
    for message in update(memory, scene(2)):
        memory.add(message)
    assert memory.warp.photo.reference.light == (0, 0, 0)


@pytest.mark.parametrize("message", [light_message(9, (1, 1, 1)), b"\x16\x00", b"\x16\x00\x7f\x00\x00"])
def test_lights_of_nothing_are_refused_and_the_memory_stays(message):
    memory, _ = opened()
    before = memory.warp.photo.reference
    with pytest.raises(BitstreamError):
        memory.add(message)
    assert memory.warp.photo.reference is before


def test_the_sender_says_when_the_light_has_changed_and_only_then():
    memory, _ = opened()
    planner = MemoryPlanner(memory, MemorySettings(better=1e9, worth=99.0))
    frame = replace(memory.driving(parameters()), motion=no_motion(0, 0))
    shown = still(memory, frame)
    noisy = np.clip(shown + np.random.default_rng(3).normal(0, 3, shown.shape), 0, 255).astype(np.uint8)
    sent = []
    for n in range(50):
        camera = noisy if n < 20 else lit(noisy, (-12, -8, -8))
        seen = planner.look(camera, frame, n * 0.08)
        for message in planner.propose(camera, frame, seen, 0, n * 0.08):
            sent.append((n, read_light(message)[1]))
            memory.add(message)
    assert sent
    assert sent[0][0] >= 20
    assert np.abs(np.array(sent[-1][1]) - (-12, -8, -8)).max() <= 2
    assert all(b[0] - a[0] >= 3 for a, b in itertools.pairwise(sent))
