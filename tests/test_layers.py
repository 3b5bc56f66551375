"""The background in a layer of its own: it stands still while the person moves, and says nothing about what the memory holds."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.motion import MotionField, no_motion
from codec.parameters import SIZE, FrameParameters, ReferenceFrame, Window
from codec.photo import Photo, chunks, encode_identity, encode_photo
from codec.photo_update import WHOLE, residual, update_message
from codec.still import encode_still
from models.layers import Layers
from models.memory import PhotoMemory
from models.person import PersonFinder
from sender.memory import MemoryPlanner, MemorySettings
from sender.tracking import FaceTracker
from sender.update_draft import draft
from tests.videos import clip_frames

MODEL = FaceModel.load()
IDENTITY = np.zeros(MODEL.identities, np.float32)
PLACES = np.dstack(np.meshgrid(np.arange(SIZE, dtype=np.float32) + 0.5, np.arange(SIZE, dtype=np.float32) + 0.5))
NO_MESH = np.full((SIZE, SIZE), -1, np.int16)
WALL = np.zeros((SIZE, SIZE), bool)
WALL[:60, 8:20] = True


@pytest.fixture(scope="module")
def seen():
    """A real person before a wall with a pattern, and her fit."""
    with FaceTracker("auto") as tracker:
        tracked = tracker.track(clip_frames(1)[0])
    assert tracked.landmarks is not None
    fit = Fitter(MODEL, identity=IDENTITY).fit(tracked.landmarks).parameters
    mask = PersonFinder().mask(tracked.picture)[..., None]
    columns = np.arange(SIZE)[None, :, None]
    wall = np.broadcast_to(90 + 40 * np.sin(columns / 3), (SIZE, SIZE, 3))
    return np.rint(mask * tracked.picture + (1 - mask) * wall).astype(np.uint8), fit


def photo(picture, fit: FrameParameters, photo_id=0, window=None):
    return ReferenceFrame(photo_id, picture, replace(fit, window=window or Window()), IDENTITY)


def right(pixels):
    return np.array((pixels, 0), np.float32)


def moved(picture, source):
    return cv2.remap(picture, source - np.float32(0.5), np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def test_the_background_does_not_go_with_the_person(seen):
    picture = seen[0]
    layers, reference = Layers(), photo(*seen)
    layers.add(reference)
    source = PLACES + right(3)
    swims = moved(picture, source)
    out = layers.apply(swims, source, reference, NO_MESH, Window())
    assert np.abs(swims[WALL].astype(int) - picture[WALL]).mean() > 20
    assert np.abs(out[WALL].astype(int) - picture[WALL]).max() <= 2
    assert np.array_equal(out[120:180, 110:140], swims[120:180, 110:140])


def test_what_the_mesh_shows_is_the_person(seen):
    layers, reference = Layers(), photo(*seen)
    layers.add(reference)
    source = PLACES + right(3)
    swims = moved(seen[0], source)
    assert np.array_equal(layers.apply(swims, source, reference, np.zeros_like(NO_MESH), Window()), swims)


def test_what_another_photo_saw_behind_her_is_known(seen):
    """She moved to the right: what she covered before is in the second photo, and is shown when she is painted from the first."""
    picture, fit = seen
    mask = PersonFinder().mask(picture)[..., None]
    far = moved(picture, PLACES - right(40))
    away = moved(mask, PLACES - right(40))[..., None]
    wall = np.broadcast_to(90 + 40 * np.sin(np.arange(SIZE)[None, :, None] / 3), (SIZE, SIZE, 3))
    second = np.rint(away * far + (1 - away) * wall).astype(np.uint8)
    one, both = Layers(), Layers()
    first = photo(picture, fit)
    one.add(first)
    both.add(first)
    both.add(photo(second, fit, 1))
    source = PLACES - right(40)
    uncovered = (mask[..., 0] > 0.9) & (away[..., 0] < 0.01)
    uncovered[:, :40] = False
    assert uncovered.sum() > 200
    errors = [
        np.abs(x.apply(moved(picture, source), source, first, NO_MESH, Window())[uncovered] - wall[uncovered]).mean()
        for x in (one, both)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_above_a_photo_that_cuts_her_head_there_is_background(seen):
    picture, fit = seen
    down = np.array((0, 60), np.float32)
    cut, whole = photo(moved(picture, PLACES + down), fit), photo(picture, fit, 1)
    layers = Layers()
    layers.add(cut)
    layers.add(whole)
    source = PLACES - down
    streaks = moved(cut.picture, source)
    out = layers.apply(streaks, source, cut, NO_MESH, Window())
    above = PersonFinder().mask(picture) < 0.01
    above[50:] = False
    hair = above & (np.abs(streaks.astype(int) - picture).mean(2) > 25)
    assert hair.sum() > 300
    assert (
        np.abs(out[hair].astype(int) - picture[hair]).mean()
        < 0.3 * np.abs(streaks[hair].astype(int) - picture[hair]).mean()
    )


def test_a_photo_that_was_not_added_is_shown_as_it_is(seen):
    layers = Layers()
    layers.add(photo(*seen))
    other = photo(seen[0].copy(), seen[1])
    assert layers.apply(seen[0], PLACES + right(3), other, NO_MESH, Window()) is seen[0]
    layers.clear()
    assert layers.apply(seen[0], PLACES, photo(*seen), NO_MESH, Window()) is seen[0]


def test_the_background_moves_with_the_window(seen):
    picture = seen[0]
    layers, reference = Layers(), photo(*seen)
    layers.add(reference)
    source = PLACES + right(9)
    out = layers.apply(moved(picture, source), source, reference, NO_MESH, Window(x=6.0))
    assert np.abs(out[:60, 8:14].astype(int) - picture[:60, 14:20]).max() <= 3


def opened(seen):
    memory = PhotoMemory(MODEL)
    first = Photo(0, 0, encode_photo(seen[0], 9000), seen[1])
    for message in [encode_identity(IDENTITY, 0), *first.messages()]:
        memory.add(message)
    return memory, MemoryPlanner(memory, MemorySettings())


def update(memory, seen, stands, photo_id):
    there = draft(memory, memory.driving(seen[1]), memory.warp.photos[0])
    coded = encode_still(residual(seen[0], there.painted), 40)
    start = update_message(
        photo_id,
        0,
        0,
        memory.warp.photos[0].reference.region,
        WHOLE,
        there.parameters,
        there.coded_fit,
        b"",
        coded,
        stands,
    )
    return [start, *chunks(photo_id, coded)]


def sliding(pixels):
    """A field that looks everything up further to the right."""
    return replace(no_motion(0, 0), control=np.broadcast_to(np.array((256 * pixels, 0), np.int32), (16, 16, 2)).copy())


def test_it_stands_still_when_the_sender_says_so_and_the_memory_is_the_same(seen):
    memory, _ = opened(seen)
    frame = replace(memory.driving(seen[1]), motion=sliding(3))
    plain = memory.warp.painted(frame, memory.warp.source(frame))
    assert not memory.warp.still
    for stands in (True, False):
        for message in update(memory, seen, stands, 1):
            memory.add(message)
        assert memory.warp.still is stands
        shown = memory.warp.shown(frame, memory.warp.photos[0])
        swum, stood = (np.abs(shown[WALL].astype(int) - x[WALL]).mean() for x in (plain, seen[0]))
        assert (stood < swum) == stands
        assert np.array_equal(memory.warp.painted(frame, memory.warp.photos[0]), plain)


@pytest.mark.parametrize("stands", [True, False])
def test_the_sender_sees_whether_it_does(seen, stands):
    memory, planner = opened(seen)
    frame = replace(memory.driving(seen[1]), motion=sliding(3))
    moves = memory.warp.painted(frame, memory.warp.source(frame))
    camera = memory.warp.layered(moves, frame, memory.warp.source(frame)) if stands else moves
    for n in range(20):
        planner.look(camera, frame, 0.08 * n)
    assert planner.layers.stands == stands
    assert isinstance(frame.motion, MotionField)


def test_without_a_budget_nobody_is_cut_out(seen):
    memory, _ = opened(seen)
    bare = PhotoMemory(MODEL)
    planner = MemoryPlanner(bare, MemorySettings(kbps=0.0))
    assert not planner.layers.stands
    assert bare.warp._layers is None
    assert memory.warp._layers is not None
