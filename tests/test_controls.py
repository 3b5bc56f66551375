"""Controls do to the points what they say, on faces of many shapes, and leave the rest alone."""

from dataclasses import replace

import numpy as np
import pytest

from codec.controls import (
    EYEBALL,
    OPEN,
    SMILE,
    Edit,
    close_eyes,
    edited,
    frontal,
    gaze,
    lid_gap,
    lip_gap,
    mouth_width,
    open_mouth,
    own_neutral,
    parse_gaze,
    parse_modes,
    relative,
    smile,
)
from codec.errors import UsageError
from codec.face_model import GROUPS, FaceModel, rotation_matrix
from codec.parameters import EXPRESSION, Camera, FrameParameters

MODEL = FaceModel.load()


def person(seed):
    rng = np.random.default_rng(seed)
    identity = rng.normal(0, 0.7, MODEL.identities).astype(np.float32)
    expression = rng.normal(0, 0.3, EXPRESSION).astype(np.float32)
    return identity, expression, MODEL.shape(identity, expression)


def moved(shape, direction):
    return MODEL.express(shape, direction) - shape


@pytest.fixture(params=range(4))
def face(request):
    return person(request.param)


def test_smile_raises_the_corners_towards_the_eyes(face):
    _, _, shape = face
    step = moved(shape, smile(MODEL, shape))
    for corner, eye in ((61, 33), (291, 263)):
        towards = shape[eye, :2] - shape[corner, :2]
        way = step[corner, :2] @ towards / np.linalg.norm(towards)
        assert way == pytest.approx(SMILE * mouth_width(shape), rel=0.15)
    assert lip_gap(shape + step) == pytest.approx(lip_gap(shape), abs=0.01)
    assert np.abs(step[GROUPS["irises"], :2]).max() < 0.015


def test_open_mouth_parts_the_lips_by_a_share_of_their_width(face):
    _, _, shape = face
    step = moved(shape, open_mouth(MODEL, shape))
    assert lip_gap(shape + step) - lip_gap(shape) == pytest.approx(OPEN * mouth_width(shape), rel=0.05)
    assert step[13, 1] - step[4, 1] == pytest.approx(0, abs=0.01)
    assert step[152, 1] - step[4, 1] > 0.05  # the chin goes down with it
    assert abs(lid_gap(shape + step) - lid_gap(shape)) < 0.015


def test_close_eyes_shuts_this_persons_lids(face):
    _, _, shape = face
    half, whole = (moved(shape, share * close_eyes(MODEL, shape)) for share in (0.5, 1.0))
    assert abs(lid_gap(shape + whole)) < 0.1 * lid_gap(shape)
    assert lid_gap(shape + half) == pytest.approx(lid_gap(shape) / 2, rel=0.1)
    assert np.abs(whole[GROUPS["lips"], :2]).max() < 0.015


def test_gaze_turns_both_irises_alike_and_lids_follow_down(face):
    _, _, shape = face
    aside, down = (moved(shape, gaze(MODEL, shape, *angles)) for angles in ((20.0, 0.0), (0.0, 15.0)))
    for iris in (468, 473):
        assert aside[iris, 0] == pytest.approx(EYEBALL * np.sin(np.radians(20)), rel=0.15)
        assert down[iris, 1] == pytest.approx(EYEBALL * np.sin(np.radians(15)), rel=0.15)
    assert down[[159, 386], 1].min() > 0.01
    np.testing.assert_allclose(gaze(MODEL, shape, -20.0, 0.0), -gaze(MODEL, shape, 20.0, 0.0), atol=1e-9)


def test_edits_add_up_and_none_changes_nothing():
    identity, expression, _ = person(1)
    before = FrameParameters(expression, camera(90, (0.1, -0.2, 0.05), (128, 130)))
    np.testing.assert_array_equal(edited(MODEL, identity, before, Edit()).vector(), before.vector())
    change = Edit(smile=0.5, close_eyes=0.3, modes={3: 1.5})
    whole, half = (edited(MODEL, identity, before, change, part).vector() for part in (1.0, 0.5))
    np.testing.assert_allclose(half - before.vector(), (whole - before.vector()) / 2, atol=1e-5)
    single = sum(
        edited(MODEL, identity, before, one).vector() - before.vector()
        for one in (Edit(smile=0.5), Edit(close_eyes=0.3), Edit(modes={3: 1.5}))
    )
    np.testing.assert_allclose(whole - before.vector(), single, atol=1e-4)


def test_a_turn_is_the_angle_asked_for_and_an_open_mouth_does_not_lift_the_head():
    identity, expression, _ = person(1)
    before = FrameParameters(expression, camera(90, (0.1, -0.2, 0.05), (128, 130)))
    turned = edited(MODEL, identity, before, Edit(yaw=10.0))
    np.testing.assert_allclose(turned.camera.rotation - before.camera.rotation, (0, np.radians(10), 0), atol=1e-6)
    opened = edited(MODEL, identity, before, Edit(open_mouth=1.0))
    here, there = (MODEL.project(MODEL.shape(identity, p.expression), p.camera) for p in (before, opened))
    assert np.abs((there - here)[[168, 33, 263], :2]).max() < 2.0
    assert (there - here)[152, 1] > 2.0


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (Edit(smile=9), "--smile"),
        (Edit(open_mouth=float("nan")), "--open-mouth"),
        (Edit(gaze=(0, 80)), "--gaze"),
        (Edit(yaw=90), "--yaw"),
        (Edit(modes={0: 1}), "mode 0"),
        (Edit(modes={29: 1}), "mode 29"),
        (Edit(modes={1: 50}), "--expression 1"),
    ],
)
def test_what_no_face_can_do_is_said(edit, word):
    with pytest.raises(UsageError, match=word):
        edit.check()


def test_numbers_of_the_command_line():
    assert parse_gaze("15,-5.5") == (15.0, -5.5)
    assert parse_modes(["1=2.5", "28=-1"]) == {1: 2.5, 28: -1.0}
    for text in ("15", "a,b", "1,2,3", ""):
        with pytest.raises(UsageError, match="--gaze"):
            parse_gaze(text)
    for text in ("1", "x=1", "1=", "=2"):
        with pytest.raises(UsageError, match="--expression"):
            parse_modes([text])


def camera(scale, rotation, place):
    return Camera(scale, np.array(rotation, np.float32), np.array((*place, 0), np.float32))


def test_a_driver_that_stands_still_leaves_the_source_as_it_is():
    first, source = camera(80, (0.2, 0.3, -0.1), (120, 140)), camera(95, (-0.1, 0.1, 0.2), (130, 125))
    np.testing.assert_allclose(relative(first, first, source).vector(), source.vector(), atol=1e-4)


def test_a_drivers_turn_and_way_are_carried_over_in_heads():
    first, source = camera(80, (0, 0, 0), (120, 140)), camera(40, (0, 0, 0), (130, 125))
    later = camera(88, (0.1, -0.3, 0.2), (136, 124))
    found = relative(later, first, source)
    np.testing.assert_allclose(found.rotation, later.rotation, atol=1e-5)
    assert found.scale == pytest.approx(44)
    np.testing.assert_allclose(found.translation, (138, 117, 0), atol=1e-4)
    turned = replace(source, rotation=np.array((0, 0.2, 0), np.float32))
    expected = rotation_matrix(later.rotation) @ rotation_matrix(turned.rotation)
    np.testing.assert_allclose(rotation_matrix(relative(later, first, turned).rotation), expected, atol=1e-5)


def test_frontal_keeps_place_and_size():
    before = camera(80, (0.2, 0.3, -0.1), (120, 140))
    after = frontal(before)
    assert not after.rotation.any()
    assert after.scale == before.scale
    np.testing.assert_array_equal(after.translation, before.translation)


def test_own_neutral_finds_what_stays_but_not_a_lasting_smile():
    identity, _, _ = person(2)
    rng = np.random.default_rng(0)
    shape = MODEL.neutral(identity)
    bias = 0.6 * close_eyes(MODEL, shape)  # narrow eyes
    calm = rng.normal(0, 0.02, (40, EXPRESSION))
    acting = rng.normal(0, 2.0, (60, EXPRESSION))
    frames = np.concatenate((calm, acting)).astype(np.float32)
    found = own_neutral(MODEL, identity, frames + bias.astype(np.float32))
    assert found @ bias / (bias @ bias) > 0.7
    smiling = np.tile(smile(MODEL, shape), (50, 1)).astype(np.float32)
    assert np.linalg.norm(own_neutral(MODEL, identity, smiling)) < 0.01 * np.linalg.norm(smiling[0])
    assert not own_neutral(MODEL, identity, np.empty((0, EXPRESSION), np.float32)).any()
