"""What the player makes of the messages that a call brings: motion packets ride, foreign ones are dropped, pictures go on."""

import time

import cv2
import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.motion import Change, MotionDecoder, encode_motion
from codec.motion_ack import acknowledged
from codec.motion_grid import POINTS
from codec.packets import MAX_RIDING, Riding, stamped, with_motion
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import Camera, FrameParameters
from codec.photo import Photo, encode_identity, encode_photo
from models.warp import Warp
from receiver.painter import FacePainter
from receiver.player import Player
from receiver.sinks import Sink

PERIOD_MS = 40.0


class Kept(Sink):
    """Keeps what it is shown."""

    def __init__(self):
        self.pictures = []

    def show(self, picture, time_s, badge=None):
        self.pictures.append((round(1000 * time_s), picture.copy()))


class Viewer:
    """A player with a photo, and a sender's parameter encoder."""

    def __init__(self, generator=None):
        model = FaceModel.load()
        camera = Camera(90.0, np.zeros(3, np.float32), np.array([128, 128, 0], np.float32))
        self.parameters = FrameParameters(np.zeros(28, np.float32), camera)
        noise = np.random.default_rng(0).uniform(0, 255, (24, 24, 3)).astype(np.float32)
        picture = np.clip(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
        photo = Photo(0, 0, encode_photo(picture), self.parameters)
        self.coder = ParameterEncoder("normal")
        self.coder.set_reference(photo.fit)
        self.sink = Kept()
        self.receipts: list[bytes] = []
        self.photos: list[int] = []
        self.player = Player(
            FacePainter(generator or Warp(model), model),
            [self.sink],
            None,
            lambda seconds: seconds,
            lambda: None,
            lambda slot, check: None,
            self.photos.append,
            self.receipts.append,
        )
        self.player.connected(PERIOD_MS)
        self.player.start()
        self.messages = [encode_identity(np.zeros(model.identities, np.float32), 0), *photo.messages()]
        for message in self.messages:
            self.player.take_photo(message)
        self.player.begin(PERIOD_MS / 1000)
        self.until(lambda: self.photos)
        self.number, self.began = 0, time.monotonic()

    def until(self, condition):
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "it never came about"
            time.sleep(0.002)

    def frame(self, riding=()):
        """A frame comes at its time, with what rides."""
        self.number += 1
        time_ms = self.number * PERIOD_MS
        time.sleep(max(0.0, self.began + time_ms / 1000 - time.monotonic()))
        data = self.coder.encode(self.parameters.vector())
        assert data is not None
        body = with_motion(riding, data)
        self.player.take_packet(stamped(time_ms, body), time.monotonic())

    def shown(self):
        """The picture after a few frames; its numbers have come to rest by then."""
        for _ in range(3):
            self.frame()
        self.until(lambda: self.sink.pictures and self.sink.pictures[-1][0] >= (self.number - 1) * PERIOD_MS)
        return corner(self.sink.pictures[-1][1])

    def shows(self, condition):
        """Frames come until a picture is as it should be."""
        for _ in range(100):
            if condition(self.shown()):
                return
        raise AssertionError("no picture was as it should be")

    def field(self, photo_id=0, shift=8):
        """A key: the whole picture's places move right by ``shift`` px."""
        numbers = np.zeros((POINTS, 2), np.int32)
        numbers[0, 0] = shift
        return encode_motion(Change(numbers, 4), 0, photo_id)


@pytest.fixture
def viewer():
    viewer = Viewer()
    yield viewer
    viewer.player.stop()
    assert viewer.player.failure is None


def corner(picture):
    return picture[8:40, 8:40].astype(int)


def apart(one, other):
    return float(np.abs(one - other).mean())


def test_frames_keep_their_time_though_a_queue_grows_before_the_photo(viewer):
    """The photo fills a slow link: what comes before it is later and later, by more than a stamp can tell apart."""

    def comes(number, arrival):
        data = viewer.coder.encode(viewer.parameters.vector())
        viewer.player.take_packet(stamped(number * PERIOD_MS, data), arrival)

    player = viewer.player
    player.connected(PERIOD_MS)
    player.begin(PERIOD_MS / 1000)
    began = time.monotonic()
    for number in range(1, 41):
        comes(number, began + number * (PERIOD_MS / 1000 + 0.04))
    for message in viewer.messages:
        player.take_photo(message)
    viewer.until(lambda: len(viewer.photos) == 2)
    viewer.sink.pictures.clear()
    for number in range(41, 44):
        comes(number, began + number * (PERIOD_MS / 1000 + 0.04))
    viewer.until(lambda: viewer.sink.pictures)
    assert viewer.sink.pictures[0][0] in (41 * PERIOD_MS, 42 * PERIOD_MS, 43 * PERIOD_MS)


def test_no_frame_is_from_the_future(viewer):
    """A packet that a queue held up for 0.7 s is not taken for one that was captured a cycle of its stamp later."""
    viewer.player._to_local = lambda seconds: viewer.began + seconds
    for _ in range(4):
        viewer.frame()
    viewer.until(lambda: viewer.sink.pictures)
    viewer.number += 1
    data = viewer.coder.encode(viewer.parameters.vector())
    viewer.player.take_packet(
        stamped(viewer.number * PERIOD_MS, data), viewer.began + viewer.number * PERIOD_MS / 1000 + 0.66
    )
    viewer.frame()
    viewer.until(lambda: viewer.sink.pictures[-1][0] >= viewer.number * PERIOD_MS)
    assert viewer.sink.pictures[-1][0] == viewer.number * PERIOD_MS


@pytest.fixture
def still(viewer):
    """The picture without a field."""
    for _ in range(6):
        viewer.frame()
    return viewer.shown()


@pytest.mark.parametrize("back", [0, 1, 3])
def test_a_field_that_rides_moves_the_picture_and_is_acknowledged(viewer, still, back):
    viewer.frame([Riding(back, viewer.field())])
    number = viewer.number - back
    moved = viewer.shown()
    assert apart(moved[:, :24], still[:, 8:]) < 4
    assert apart(moved, still) > 10
    viewer.until(lambda: viewer.receipts)
    assert acknowledged(viewer.receipts[-1]) == [number]
    assert viewer.player.figures.fields == 1


def test_a_stale_field_fades_out(viewer, still):
    viewer.frame([Riding(0, viewer.field())])
    assert apart(viewer.shown(), still) > 10
    for _ in range(20):
        viewer.frame()
    viewer.shows(lambda picture: apart(picture, still) < 1)


def test_a_field_of_an_unknown_photo_is_not_shown(viewer, still):
    viewer.frame([Riding(0, viewer.field(photo_id=7))])
    assert apart(viewer.shown(), still) < 1
    assert viewer.player.figures.fields == 1


def test_bad_fields_are_dropped_alone(viewer, still):
    beyond = np.zeros((POINTS, 2), np.int32)
    beyond[:21] = 31
    bad = [encode_motion(Change(beyond, 8), 2, 0), b"\x00" * 20, b"\xff" * 200]
    assert len(bad[0]) <= MAX_RIDING
    viewer.frame([Riding(0, data) for data in bad])
    assert apart(viewer.shown(), still) < 1
    assert viewer.player.figures.fields_dropped == len(bad)
    assert viewer.player.figures.damaged == 0
    assert viewer.receipts == []


def test_a_change_of_a_field_that_never_came_is_dropped(viewer, still):
    number = viewer.number + 1
    lost = MotionDecoder().decode(viewer.field(), number - 1)
    numbers = np.zeros((POINTS, 2), np.int32)
    numbers[0, 1] = 5
    viewer.frame([Riding(0, encode_motion(Change(numbers, 4), number, 0, lost))])
    assert apart(viewer.shown(), still) < 1
    assert viewer.player.figures.fields_dropped == 1


def test_a_message_with_a_field_alone_is_no_frame(viewer, still):
    body = with_motion([Riding(0, viewer.field())])
    viewer.player.take_packet(stamped(viewer.number * PERIOD_MS, body), time.monotonic())
    assert apart(viewer.shown(), still) > 10
    assert viewer.player.figures.fields == 1
    assert viewer.player.jitter.lost == 0


@pytest.mark.parametrize("data", [b"\x0a\xf0", b"\x0a\xf0\x05abc", b"\x0a" + b"\xf0\x01a" * 5, b"\x0a", b"\x0a\xe0abc"])
def test_messages_that_are_none_are_counted_and_dropped(viewer, still, data):
    viewer.player.take_packet(data, time.monotonic())
    assert viewer.player.figures.damaged == 1
    assert apart(viewer.shown(), still) < 1
