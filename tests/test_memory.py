"""The memory at both ends, and the sender's judgement of what belongs into it."""

import contextlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.motion import MAX_MOTION, NONE, Change, MotionDecoder, encode_motion, no_motion
from codec.motion_grid import POINTS
from codec.parameters import SIZE, Camera, FrameParameters, Region
from codec.photo import Photo, chunks, encode_identity, encode_photo
from codec.photo_update import Rectangle, decode_residual, read_update, residual, update_message
from codec.still import encode_still
from models.memory import PhotoMemory
from models.regions import rectangle
from models.warp import Warp
from sender.memory import MemoryPlanner, MemorySettings
from sender.update_draft import LARGEST_KEY, draft, key_packet

MODEL = FaceModel.load()
IDENTITY = np.zeros(MODEL.identities, np.float32)


def parameters(mouth=0.0, yaw=0.0):
    camera = Camera(90.0, np.array((0.0, yaw, 0.0), np.float32), np.array((128.0, 130.0, 0.0), np.float32))
    expression = np.zeros(28, np.float32)
    expression[0] = mouth
    return FrameParameters(expression, camera)


def scene(seed):
    coarse = np.random.default_rng(seed).integers(40, 215, (24, 24, 3), np.uint8)
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


FIRST = scene(1)


def opened(generator=None):
    """A memory with one photo in it, and the messages that brought it."""
    memory = PhotoMemory(MODEL, generator)
    photo = Photo(0, 0, encode_photo(FIRST, 7000), parameters())
    messages = [encode_identity(IDENTITY, 0), *photo.messages()]
    for message in messages:
        memory.add(message)
    return memory, messages


def still(memory, frame):
    """A frame without the cross-fades of what is shown in order."""
    return memory.warp.painted(frame, memory.warp.source(frame))


def update(memory, picture, region=Region.WHOLE, box=None, photo_id=1, base=0, of=None):
    """The messages of an update towards a picture."""
    of = of or parameters()
    there = draft(memory, memory.driving(of), memory.warp.photos[base])
    box = box or Rectangle(0, 0, SIZE, SIZE)
    coded = encode_still(residual(picture, there.painted)[box.rows, box.columns], 60)
    start = update_message(photo_id, base, 0, region, box, there.parameters, there.coded_fit, there.motion, coded)
    return [start, *chunks(photo_id, coded)]


def test_an_update_brings_the_new_picture():
    memory, _ = opened()
    results = [memory.add(message) for message in update(memory, scene(2))]
    new = results[-1]
    assert results[:-1] == [None] * (len(results) - 1)
    assert new is not None
    assert new.photo_id == 1
    before = np.abs(FIRST.astype(int) - scene(2)).mean()
    assert np.abs(new.picture.astype(int) - scene(2)).mean() < before / 5
    assert memory.warp.photo.reference.photo_id == 1


def test_a_patch_changes_its_rectangle_alone_and_is_no_new_photo():
    memory, _ = opened()
    box = Rectangle(96, 144, 64, 48)
    *_, patch = (memory.add(m) for m in update(memory, scene(2), Region.MOUTH, box, photo_id=8))
    assert patch is not None
    assert patch.region is Region.MOUTH
    base = memory.warp.painted(memory.driving(patch.parameters), memory.warp.photos[0])
    outside = np.ones((SIZE, SIZE), bool)
    outside[box.rows, box.columns] = False
    np.testing.assert_array_equal(patch.picture[outside], base[outside])
    assert np.abs(patch.picture[~outside].astype(int) - scene(2)[~outside]).mean() < 10
    assert memory.warp.photo.reference.photo_id == 0


def test_mouth_and_eyes_come_from_the_picture_that_the_field_names():
    memory, _ = opened()
    for message in update(memory, scene(2), Region.MOUTH, Rectangle(64, 104, 128, 120), photo_id=8):
        memory.add(message)
    frame = memory.driving(parameters(), no_motion(0, 0))
    plain = still(memory, frame)
    assert frame.motion is not None
    named = still(memory, replace(frame, motion=replace(frame.motion, mouth=8)))
    share = memory.warp.regions.share(Region.MOUTH, frame.visibility, frame.vertices)
    assert share is not None
    left, top, right, bottom = share.box
    changed = np.abs(named.astype(int) - plain).max(2)
    assert changed[top:bottom, left:right][share.weight > 0.9].mean() > 10
    changed[top:bottom, left:right][share.weight > 0] = 0
    assert changed.max() == 0
    nobody = still(memory, replace(frame, motion=replace(frame.motion, mouth=9)))
    np.testing.assert_array_equal(nobody, plain)


def test_a_region_joins_without_a_seam_where_the_light_has_changed():
    memory, _ = opened()
    frame = memory.driving(parameters(), no_motion(0, 0))
    brighter = np.clip(memory.warp.generate(frame).astype(int) + 25, 0, 255).astype(np.uint8)
    for message in update(memory, brighter, photo_id=2):
        memory.add(message)
    assert frame.motion is not None
    base = still(memory, frame)
    named = still(memory, replace(frame, motion=replace(frame.motion, mouth=2)))
    assert np.abs(named.astype(int) - base).mean() < 1.0


def test_a_change_of_picture_is_faded():
    memory, _ = opened()
    for message in update(memory, scene(2)):
        memory.add(message)
    frames = [memory.driving(parameters(), no_motion(n, int(n > 1))) for n in range(6)]
    shown = [memory.warp.generate(frame).astype(int) for frame in frames]
    old, new = (still(memory, frame).astype(int) for frame in (frames[0], frames[-1]))
    whole = np.abs(new - old).mean()
    parts = [np.abs(picture - old).mean() / whole for picture in shown]
    assert parts[:2] == [0.0, 0.0]
    assert parts[2] == pytest.approx(1 / 3, abs=0.02)
    assert parts[3] == pytest.approx(2 / 3, abs=0.02)
    assert parts[4:] == [1.0, 1.0]


def hostile():
    memory, _ = opened()
    good = update(memory, scene(2))
    start = bytearray(good[0])
    yield "unknown base", [bytes(start[:2]) + b"\x07" + bytes(start[3:])]
    yield "unknown identity", [bytes(start[:3]) + b"\x07" + bytes(start[4:])]
    yield "unknown flags", [bytes(start[:4]) + b"\x80" + bytes(start[5:])]
    yield "no such region", [bytes(start[:4]) + b"\x03" + bytes(start[5:])]
    yield "nothing in it", [bytes(start[:5]) + b"\0\0" + bytes(start[7:])]
    yield "too long", [bytes(start[:5]) + b"\xff\xff" + bytes(start[7:])]
    yield "wrong hash", [bytes(start[:7]) + bytes(4) + bytes(start[11:]), *good[1:]]
    yield "patch outside", [bytes(start[:4]) + b"\x01" + bytes(start[5:11]) + bytes((31, 0, 8, 8)) + bytes(start[11:])]
    yield (
        "patch of nothing",
        [bytes(start[:4]) + b"\x01" + bytes(start[5:11]) + bytes((0, 0, 0, 8)) + bytes(start[11:])],
    )
    for length in range(len(start)):
        yield f"cut at {length}", [bytes(start[:length])]


@pytest.mark.parametrize(("what", "messages"), [x for x in hostile() if not x[0].startswith("cut")], ids=lambda x: x)
def test_bad_updates_are_refused_and_the_memory_stays(what, messages):
    memory, _ = opened()
    for message in messages[:-1]:
        memory.add(message)
    with pytest.raises(BitstreamError):
        memory.add(messages[-1])
    assert set(memory.warp.photos) == {0}
    for message in update(memory, scene(2)):
        memory.add(message)
    assert set(memory.warp.photos) == {0, 1}


def test_a_start_message_that_is_cut_is_refused():
    memory, _ = opened()
    for what, messages in hostile():
        if what.startswith("cut"):
            try:
                memory.add(messages[0])
            except BitstreamError:
                continue
            # Cut exactly where the motion field may end: a whole message.
            assert read_update(messages[0]).field is None


START = update(opened()[0], scene(2))[0]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_updates_raise_nothing_else(data):
    message = bytearray(START)
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BitstreamError):
        read_update(bytes(message))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(Region), st.integers(2, 9)), max_size=6), st.integers(0, 3)
)
def test_both_memories_stay_identical(plan, lost):
    """Whatever is sent, from whatever base, and whatever whole picture is given up on the way."""
    ours, _ = opened()
    theirs, _ = opened(Warp(MODEL))
    for n, (photo_id, region, seed) in enumerate(plan):
        base = list(ours.warp.photos)[seed % len(ours.warp.photos)]
        box = Rectangle(64, 96, 96, 96) if region else None
        sent = update(ours, scene(seed), region, box, photo_id, base)
        if n == lost:
            theirs.add(sent[0])  # cancelled: the rest never comes
            continue
        for message in sent:
            ours.add(message)
            theirs.add(message)
    assert set(ours.warp.photos) == set(theirs.warp.photos)
    for photo_id, photo in ours.warp.photos.items():
        other = theirs.warp.photos[photo_id]
        np.testing.assert_array_equal(photo.reference.picture, other.reference.picture)
        np.testing.assert_array_equal(photo.vertices, other.vertices)
        assert photo.reference.region is other.reference.region


@pytest.mark.parametrize("case", json.loads((Path(__file__).parent / "golden" / "memory.json").read_text()))
def test_golden_updates(case):
    update = read_update(bytes.fromhex(case["message"]))
    box = update.rectangle
    for name in ("photo_id", "base_id", "identity_version", "region"):
        assert getattr(update, name) == case[name]
    assert [box.left, box.top, box.width, box.height] == case["rectangle"]
    assert update.fit.tolist() == case["fit"]
    assert update.still == case["stands"]
    if case["control"] is None:
        assert update.field is None
    else:
        assert update.field is not None
        assert (update.field.control.reshape(-1).tolist(), update.field.mouth) == (case["control"], case["mouth"])
    still = decode_residual(update, bytes.fromhex(case["still"]))
    np.testing.assert_allclose(still.mean((0, 1)), case["mean"], atol=0.5)


def moved(seed, strength):
    numbers = np.random.default_rng(seed).integers(-strength, strength + 1, (POINTS, 2)).astype(np.int32)
    numbers[21:] //= 2
    field = Change(numbers, 4).applied(0, no_motion(0, 3))
    assert field is not None
    return field


@pytest.mark.parametrize(("seed", "strength"), list(itertools.product(range(3), (0, 1, 3, 9))))
def test_a_field_is_said_anew_within_its_bytes(seed, strength):
    field = replace(moved(seed, strength), mouth=4)
    data = key_packet(field, 3)
    again = MotionDecoder().decode(data, 0)
    assert len(data) <= MAX_MOTION
    assert again.photo_id == 3
    assert (again.mouth, again.eyes) == (4, NONE)
    error = np.abs(again.displacement() - field.displacement()).mean()
    assert error <= 0.5 or (len(data) <= LARGEST_KEY and error < np.abs(field.displacement()).mean())


def test_a_field_keeps_its_choice_until_another_is_made():
    decoder, nothing = MotionDecoder(), np.zeros((POINTS, 2), np.int32)
    first = decoder.decode(encode_motion(Change(nothing, 4, mouth=9, eyes=21), 1, 0), 1)
    same = decoder.decode(encode_motion(Change(nothing, 4, mouth=9, eyes=21), 2, 0, first), 2)
    other = decoder.decode(encode_motion(Change(nothing, 4, eyes=22), 3, 0, same), 3)
    assert (same.mouth, same.eyes) == (9, 21)
    assert (other.mouth, other.eyes) == (NONE, 22)
    with pytest.raises(ValueError, match="ids go to"):
        encode_motion(Change(nothing, 4, mouth=32), 1, 0)


def test_the_planner_takes_the_mouth_that_the_camera_shows_and_keeps_to_its_bytes():
    memory, _ = opened()
    planner = MemoryPlanner(memory, MemorySettings(kbps=4.0, patches=1.0))
    frame = memory.driving(parameters(), no_motion(0, 0))
    share = memory.warp.regions.share(Region.MOUTH, frame.visibility, frame.vertices)
    assert share is not None
    left, top, right, bottom = rectangle(share)
    other = FIRST.copy()
    other[top:bottom, left:right] = scene(5)[top:bottom, left:right]
    spent, chosen = 0, []
    for n in range(150):
        seen = planner.look(other if n % 50 < 25 else FIRST, frame, n * 0.08)
        chosen.append(seen.mouth)
        for message in planner.propose(other if n % 50 < 25 else FIRST, frame, seen, 0, n * 0.08):
            memory.add(message)
            spent += len(message)
    assert 0 < spent <= 4.0 * 125 * (12 + 2 + 1)
    assert chosen[70] in memory.warp.photos
    assert chosen[70] != NONE
    assert chosen[45] == NONE


def test_nothing_is_sent_without_a_budget():
    memory, _ = opened()
    planner = MemoryPlanner(memory, MemorySettings(kbps=0.0))
    frame = memory.driving(parameters(), no_motion(0, 0))
    for n in range(60):
        assert planner.propose(scene(2), frame, planner.look(scene(2), frame, n * 0.08), 0, n * 0.08) == []
