"""Another background: what of the room is left, what of the person, and a user's mistakes."""

import numpy as np
import pytest
from PIL import Image

from codec.errors import UsageError
from codec.parameters import Window
from models.backdrop import Backdrop
from models.person import PersonFinder
from sender.curtain import with_background
from sender.tracking import FaceTracker
from tests.videos import clip_frames


@pytest.fixture(scope="module")
def person():
    with FaceTracker("auto") as tracker:
        return tracker.track(clip_frames(1)[0]).picture


@pytest.fixture(scope="module")
def mask(person):
    return PersonFinder().mask(person)


@pytest.fixture
def beach(tmp_path):
    rows, columns = np.mgrid[:120, :200]
    Image.fromarray(np.stack((columns, rows + 100, 0 * rows + 250), 2).astype(np.uint8)).save(tmp_path / "beach.png")
    return tmp_path / "beach.png"


def test_the_mask_has_the_face_and_not_the_wall(person, mask):
    assert mask.shape == (256, 256)
    assert mask[100:200, 100:150].min() > 0.9
    assert mask[:40, :20].max() < 0.1


def test_a_blurred_room_cannot_be_read_and_the_person_stays(person, mask):
    written = person.copy()
    written[::2][mask[::2] < 0.01] = 255
    out = Backdrop("blur").apply(written)
    sure, wall = mask > 0.95, np.zeros((256, 256), bool)
    wall[4:100, 4:16] = True
    assert np.abs(out[sure].astype(int) - written[sure]).mean() < 2
    assert np.abs(np.diff(written[wall.nonzero()].reshape(96, 12, 3).astype(int), axis=0)).mean() > 100
    assert np.abs(np.diff(out[wall.nonzero()].reshape(96, 12, 3).astype(int), axis=0)).mean() < 3


def test_a_picture_stands_where_the_room_was(person, mask, beach):
    out = Backdrop(str(beach)).apply(person)
    assert out[:40, :20, 2].min() >= 248
    assert np.abs(out[mask > 0.95].astype(int) - person[mask > 0.95]).mean() < 2


def test_a_picture_stands_still_when_the_window_moves(person, beach):
    backdrop = Backdrop(str(beach))
    first = backdrop.still(person)
    moved = backdrop.still(person, Window(x=6.0, y=0.0))
    assert np.abs(moved[:40, :12].astype(int) - first[:40, 6:18]).max() <= 2


def test_edges_change_less_than_the_mask(person):
    """Masks are smoothed over time: of a sudden change of the mask a part is shown at once."""
    backdrop = Backdrop("blur")
    blank = np.full_like(person, 90)
    backdrop.apply(blank)
    late = backdrop.apply(person)
    assert np.array_equal(backdrop.still(person), Backdrop("blur").apply(person))
    assert not np.array_equal(late, backdrop.still(person))


def test_what_is_sent_never_shows_the_room(beach):
    with with_background(FaceTracker("auto"), str(beach)) as tracker:
        for frame in clip_frames(3):
            tracked = tracker.track(frame)
            assert tracked.landmarks is not None
            assert tracked.picture[:40, :16, 2].min() >= 240


def test_no_background_is_no_curtain():
    with FaceTracker("auto") as tracker:
        assert with_background(tracker, None) is tracker


@pytest.mark.parametrize("kind", ["missing", "text", "folder"])
def test_a_users_mistake_is_one_sentence(kind, tmp_path):
    path = tmp_path / "background.jpg"
    if kind == "text":
        path.write_text("no picture")
    if kind == "folder":
        path.mkdir()
    with pytest.raises(UsageError) as caught:
        Backdrop(str(path))
    assert "background" in str(caught.value)
    assert "\n" not in str(caught.value)
