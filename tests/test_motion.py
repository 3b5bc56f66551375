"""The residual motion field: its grid, its packets and how it is shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codec.errors import BitstreamError
from codec.motion import (
    FADE_FRAMES,
    KEPT,
    LIFETIMES,
    MAX_MOTION,
    STEPS,
    Change,
    MotionDecoder,
    MotionField,
    encode_motion,
    no_motion,
)
from codec.motion_grid import GRID, LARGEST, LEVELS, LIMIT, OFFSETS, POINTS, UNIT, change
from codec.motion_track import MotionTrack

GOLDEN = Path(__file__).parent / "golden" / "motion.json"


def numbers(seed, share=0.05, largest=4):
    chance = np.random.default_rng(seed)
    values = chance.integers(-largest, largest + 1, (POINTS, 2))
    return np.where(chance.random((POINTS, 2)) < share, values, 0).astype(np.int32)


def field(sequence, photo_id=0, x=0, lifetime=LIFETIMES[0]):
    control = np.zeros((GRID, GRID, 2), np.int32)
    control[..., 0] = x * UNIT
    return replace(no_motion(sequence, photo_id), control=control, lifetime=lifetime)


def test_a_change_of_the_first_level_moves_everything_by_whole_steps():
    moved = np.zeros((POINTS, 2), np.int32)
    moved[0] = 3, -2
    assert (change(moved, 4) == np.array((3 * UNIT, -2 * UNIT))).all()
    assert (change(moved, 2) == np.array((3 * UNIT // 2, -UNIT))).all()


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_every_level_reproduces_a_constant(level):
    moved = np.zeros((POINTS, 2), np.int32)
    moved[OFFSETS[level] : OFFSETS[level + 1]] = 5, 1
    assert (change(moved, 4) == np.array((5 * UNIT, UNIT))).all()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 1.0])
def test_packets_come_back_as_they_were_and_follow_one_another(share):
    decoder, before = MotionDecoder(), None
    for n in range(6):
        content = Change(numbers(n, share, 3), STEPS[n % 4], LIFETIMES[n % 2])
        data = encode_motion(content, 65530 + 2 * n & 0xFFFF, 7, before)
        if len(data) > MAX_MOTION:
            assert share == 1.0
            return
        start = no_motion(65530, 7) if before is None else before
        wanted = content.applied(65530 + 2 * n & 0xFFFF, start)
        got = decoder.decode(data, 65530 + 2 * n & 0xFFFF)
        assert wanted is not None
        assert (got.control == wanted.control).all()
        assert (got.activity == wanted.activity).all()
        assert (got.photo_id, got.step, got.lifetime) == (7, content.step, content.lifetime)
        before = got


def test_the_largest_numbers_come_back():
    content = Change(np.zeros((POINTS, 2), np.int32), 2)
    content.numbers[5] = LARGEST, -LARGEST
    got = MotionDecoder().decode(encode_motion(content, 9, 0), 9)
    assert (got.control == change(content.numbers, 2)).all()


def test_nothing_new_costs_at_most_two_bytes():
    nothing = Change(np.zeros((POINTS, 2), np.int32), 4, LIFETIMES[-1])
    assert len(encode_motion(nothing, 2, 0, no_motion(0, 0))) <= 2


@pytest.mark.parametrize("back", [1, 2, 3, 8, KEPT - 1])
def test_a_field_may_be_referred_to_by_its_age(back):
    decoder = MotionDecoder()
    first = decoder.decode(encode_motion(Change(numbers(1), 4), 100, 0), 100)
    content = Change(numbers(2), 4)
    got = decoder.decode(encode_motion(content, 100 + back, 0, first), 100 + back)
    assert (got.control == first.control + change(content.numbers, 4)).all()


def test_a_reference_that_is_too_old_is_refused_by_the_encoder():
    with pytest.raises(ValueError, match="referred"):
        encode_motion(Change(numbers(2), 4), KEPT, 0, no_motion(0, 0))


def test_a_change_of_a_field_that_did_not_come_is_refused_and_the_next_decodes():
    decoder = MotionDecoder()
    first = Change(numbers(1), 4).applied(0, no_motion(0, 0))
    with pytest.raises(BitstreamError, match="did not come"):
        decoder.decode(encode_motion(Change(numbers(2), 4), 2, 0, first), 2)
    assert decoder.decode(encode_motion(Change(numbers(3), 4), 4, 0), 4).sequence == 4


def test_fields_out_of_bounds_are_refused():
    decoder = MotionDecoder()
    content = Change(np.zeros((POINTS, 2), np.int32), 8)
    content.numbers[0] = LARGEST, 0
    before = decoder.decode(encode_motion(content, 0, 0), 0)
    assert np.abs(before.control).max() <= LIMIT
    assert content.applied(2, before) is None
    with pytest.raises(BitstreamError, match="bounds"):
        decoder.decode(encode_motion(content, 2, 0, before), 2)


def test_any_bytes_are_a_field_or_a_bitstream_error():
    chance = np.random.default_rng(5)
    decoder = MotionDecoder()
    good = encode_motion(Change(numbers(1, 0.1), 4), 0, 0)
    outcomes = set()
    for n in range(600):
        data = bytearray(good if n % 2 else chance.bytes(int(chance.integers(0, 60))))
        if n % 2:
            data[int(chance.integers(len(data)))] ^= 1 << int(chance.integers(8))
            data = data[: int(chance.integers(1, len(data) + 1))]
        try:
            got = decoder.decode(bytes(data), int(chance.integers(65536)))
        except BitstreamError:
            outcomes.add("refused")
        else:
            outcomes.add("decoded")
            assert np.abs(got.control).max() <= LIMIT
    assert outcomes == {"refused", "decoded"}


def test_a_packet_that_is_too_long_is_refused_unread():
    with pytest.raises(BitstreamError, match="at most"):
        MotionDecoder().decode(bytes(MAX_MOTION + 1), 0)


def test_golden_packets():
    """Bytes written once: they must decode to the same fields for ever, and be written again bit by bit."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    decoder = MotionDecoder()
    fields: dict[int, MotionField] = {}
    assert len(golden["packets"]) >= 6
    for packet in golden["packets"]:
        got = decoder.decode(bytes.fromhex(packet["data"]), packet["sequence"])
        assert got.control.ravel().tolist() == packet["control"]
        assert (got.photo_id, got.step, got.lifetime) == (packet["photo_id"], packet["step"], packet["lifetime"])
        content = Change(np.array(packet["numbers"], np.int32).reshape(POINTS, 2), got.step, got.lifetime)
        reference = fields.get(packet["reference"])
        assert encode_motion(content, got.sequence, got.photo_id, reference).hex() == packet["data"]
        fields[got.sequence] = got
    for bad in golden["damaged"]:
        with pytest.raises(BitstreamError):
            decoder.decode(bytes.fromhex(bad), 5000)


def test_apply_is_bilinear_between_the_cells_and_constant_at_the_edge():
    control = np.zeros((GRID, GRID, 2), np.int32)
    control[..., 0] = np.arange(GRID) * UNIT
    moved = replace(no_motion(0, 0), control=control).apply(np.zeros((256, 256, 2), np.float32))
    columns = np.clip((np.arange(256) + 0.5) / 16 - 0.5, 0, GRID - 1)
    assert np.allclose(moved[..., 0], columns[None], atol=1e-4)
    assert (moved[..., 1] == 0).all()


def test_a_frame_between_two_fields_is_shown_between_them():
    track = MotionTrack()
    track.add(field(10, x=2))
    track.add(field(12, x=4))
    got = track.at(11, {0})
    assert got is not None
    assert np.allclose(got.displacement()[..., 0], 3, atol=0.02)
    assert track.at(9, {0}) is None


def test_a_stale_field_is_held_and_then_fades_to_nothing_without_a_jump():
    track = MotionTrack()
    track.add(field(65530, x=8))
    shown = []
    for age in range(LIFETIMES[0] + FADE_FRAMES + 2):
        got = track.at(65530 + age & 0xFFFF, {0})
        shown.append(0.0 if got is None else float(got.displacement()[0, 0, 0]))
    assert shown[: LIFETIMES[0] + 1] == [8.0] * (LIFETIMES[0] + 1)
    assert shown[-1] == 0
    assert max(abs(np.diff(shown))) <= 8 / FADE_FRAMES + 1e-5


def test_a_field_never_moves_another_photo():
    track = MotionTrack()
    track.add(field(0, photo_id=1, x=8))
    assert track.at(0, {2}) is None
    track.add(field(2, photo_id=2, x=4))
    got = track.at(1, {1})
    assert isinstance(got, MotionField)
    assert got.displacement()[0, 0, 0] == 8


def test_fields_are_forgotten():
    track = MotionTrack()
    for n in range(1000):
        track.add(field(n))
    assert len(track._fields) <= 2 * KEPT


def shown_at(track, sequence):
    field = track.at(sequence, {0})
    assert field is not None
    return field.displacement().mean()


def test_a_call_goes_to_a_field_in_steps_and_stays_there():
    decoder, track = MotionDecoder(), MotionTrack(ease=0.5)
    for sequence, value in ((10, 1), (12, 9)):
        content = np.zeros((POINTS, 2), np.int32)
        content[0] = value
        track.add(decoder.decode(encode_motion(Change(content, 4), sequence, 0), sequence))
        if sequence == 10:
            first = shown_at(track, 10)
    steps = [shown_at(track, sequence) for sequence in range(12, 18)]
    assert steps[0] == pytest.approx(first + 0.75 * 8 * first, rel=0.02)
    assert np.all(np.diff(steps) >= 0)
    assert steps[-1] == pytest.approx(9 * first, rel=0.05)
    assert track.at(30, {0}) is not None
    assert track.at(18 + 10 + 10, {0}) is None
