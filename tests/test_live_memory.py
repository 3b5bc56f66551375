"""The memory of a call: what the loop proposes travels, is acknowledged late, and both ends hold the same."""

from collections import deque

import cv2
import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.hwfile import Channel, Message
from codec.parameters import Camera, FrameParameters, Region
from codec.photo import Photo, encode_identity, encode_photo
from models.memory import PhotoMemory
from sender.live_motion import LiveMotion

MODEL = FaceModel.load()
PERIOD_MS = 40.0
CAMERA = Camera(90.0, np.zeros(3, np.float32), np.array([128, 128, 0], np.float32))
PARAMETERS = FrameParameters(np.zeros(28, np.float32), CAMERA)


def scene(seed):
    coarse = np.random.default_rng(seed).integers(40, 215, (24, 24, 3), np.uint8)
    return cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)


class Call:
    """A sender's loop and a receiver's memory; a picture's messages take ``late`` frames, its acknowledgement as long."""

    def __init__(self, photos_kbps, late, log=None):
        self.now, self.late = 0.0, late
        self.live = LiveMotion(
            MODEL, PERIOD_MS, 2.0, log, clock=lambda: self.now, pause_s=0.0, paces=(2,), photos_kbps=photos_kbps
        )
        self.live.enabled = True
        self.way: deque[tuple[float, bytes]] = deque()
        self.back: deque[tuple[float, int]] = deque()
        self.bytes = 0
        self.join()

    def join(self):
        """A receiver with an empty memory."""
        self.live.new_receiver()
        self.memory = PhotoMemory(MODEL)
        self.way.clear()
        self.back.clear()
        photo = Photo(0, 0, encode_photo(scene(0)), PARAMETERS)
        messages = [encode_identity(np.zeros(MODEL.identities, np.float32), 0), *photo.messages()]
        self.live.sent([Message(Channel.PHOTOS, data) for data in messages])
        for message in messages:
            self.memory.add(message)
        self.live.photo_acknowledged(0)

    def frame(self, picture):
        self.now += PERIOD_MS / 1000
        self.live.frame(picture, self.now * 1000, unsent=PARAMETERS)
        self.live.wait()
        self.live.take(self.now * 1000)
        for message in self.live.take_news():
            self.bytes += len(message)
            self.way.append((self.now, message))
        while self.way and self.now - self.way[0][0] >= self.late * PERIOD_MS / 1000:
            reference = self.memory.add(self.way.popleft()[1])
            if reference is not None:
                self.back.append((self.now, reference.photo_id))
        while self.back and self.now - self.back[0][0] >= self.late * PERIOD_MS / 1000:
            self.live.photo_acknowledged(self.back.popleft()[1])

    def settle(self, picture):
        """Until nothing is on its way."""
        for _ in range(4 * self.late + 8):
            self.frame(picture)

    @property
    def ours(self):
        return self.live._viewer.memory.warp.photos


@pytest.fixture
def call():
    call = Call(12.0, late=6)
    yield call
    call.live.close()


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for photo_id, photo in ours.items():
        np.testing.assert_array_equal(photo.reference.picture, theirs[photo_id].reference.picture)
        assert photo.reference.region is theirs[photo_id].reference.region


def changing(n):
    """A person who does something else each second, and comes back to it."""
    part = scene(0).copy()
    part[120:200, 80:176] = scene(1 + n // 25 % 3)[120:200, 80:176]
    return part


def test_both_ends_remember_the_same(call):
    for n in range(200):
        call.frame(changing(n))
    call.settle(changing(199))
    assert len(call.ours) > 2
    assert any(photo.reference.region is not Region.WHOLE for photo in call.ours.values())
    same(call.ours, call.memory.warp.photos)


def test_a_receiver_that_starts_again_is_given_everything_again(call):
    for n in range(80):
        call.frame(changing(n))
    call.join()
    for n in range(120):
        call.frame(changing(n))
    call.settle(changing(119))
    assert len(call.ours) > 1
    same(call.ours, call.memory.warp.photos)


def test_one_picture_travels_at_a_time_and_the_rate_is_kept(call):
    for n in range(250):
        call.frame(changing(n))
        starts = sum(message[0] == 0x15 for _, message in call.way)
        assert starts <= 1
    assert 0 < call.bytes <= 12.0 * 125 * (10 + 2 + 1)


def test_without_a_budget_nothing_travels():
    call = Call(0.0, late=4)
    for n in range(80):
        call.frame(changing(n))
    call.live.close()
    assert call.bytes == 0
