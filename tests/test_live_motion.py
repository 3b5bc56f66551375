"""A call's loop on drawn pictures, with the viewer's own painter at the other end and a way between them that loses."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.hwfile import Channel, Message
from codec.motion import MotionDecoder
from codec.motion_ack import MotionReceipts
from codec.packets import frame_number, window_integers
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import Camera, FrameParameters
from codec.photo import Photo, encode_identity, encode_photo
from sender.closed_loop import LoopState
from sender.live_motion import FieldBudget, LiveMotion, ViewerOfCall

PERIOD_MS = 40.0


def drawn(seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (24, 24, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def moved(picture, x, y):
    return cv2.warpAffine(
        picture, np.array([[1, 0, x], [0, 1, y]], np.float32), (256, 256), borderMode=cv2.BORDER_REPLICATE
    )


class Call:
    """Both ends of a call without a network. lost: which messages do not arrive. late: frames until a receipt is back."""

    def __init__(self, kbps=4.0, log=None, lost=lambda n: False, late=8):
        self.model = FaceModel.load()
        camera = Camera(90.0, np.zeros(3, np.float32), np.array([128, 128, 0], np.float32))
        self.parameters = FrameParameters(np.zeros(28, np.float32), camera)
        self.number = 0
        self.live = LiveMotion(self.model, PERIOD_MS, kbps, log, lambda: self.number * PERIOD_MS / 1000, 0.0, (2,))
        self.live.enabled = True
        self.coder = ParameterEncoder("normal")
        self.decoder, self.receipts = MotionDecoder(), MotionReceipts()
        self.fields, self.bytes, self.dropped = [], 0, 0
        self._lost, self._late, self._on_way = lost, late, []

    def photo(self, picture, photo_id=0, acknowledged=True):
        photo = Photo(photo_id, 0, encode_photo(picture), self.parameters)
        if photo_id == 0:
            self.coder.set_reference(photo.fit, window_integers(photo.parameters.window))
        identity = encode_identity(np.zeros(self.model.identities, np.float32), 0)
        self.live.sent([Message(Channel.PHOTOS, data) for data in [identity, *photo.messages()]])
        if acknowledged:
            self.live.photo_acknowledged(photo_id)

    def frame(self, picture, seen=True):
        """One frame: what rides with its message arrives, or not."""
        self.number += 1
        while self._on_way and self._on_way[0][0] <= self.number:
            self.live.acknowledge(self._on_way.pop(0)[1])
        time_ms = self.number * PERIOD_MS
        data = self.coder.encode(self.parameters.vector())
        assert data is not None
        riding = self.live.take(time_ms)
        self.live.sent([Message(Channel.PARAMETERS, data, round(time_ms))])
        self.live.frame(picture, time_ms, seen)
        for section in riding:
            self.bytes += len(section.packet) + 2
            if not self._lost(self.number):
                self._receive(section)
        self.live.wait()

    def _receive(self, section):
        sequence = frame_number(self.number * PERIOD_MS / 1000, PERIOD_MS) - section.back
        try:
            self.fields.append(self.decoder.decode(section.packet, sequence))
        except BitstreamError:
            self.dropped += 1
            return
        self._on_way.append((self.number + self._late, self.receipts.add(sequence)))

    def close(self):
        self.live.close()


@pytest.fixture
def call():
    call = Call()
    yield call
    call.close()


def test_a_picture_that_moves_is_followed(call):
    photo = drawn()
    call.photo(photo)
    for n in range(40):
        call.frame(moved(photo, 6 * np.sin(n / 8), 3))
    assert len(call.fields) >= 12
    assert call.fields[-1].photo_id == 0
    x, y = call.fields[-1].displacement()[2:6, 2:6].mean((0, 1))
    assert y == pytest.approx(-3, abs=1)
    assert x == pytest.approx(-6 * np.sin(39 / 8), abs=2)


def test_nothing_is_sent_before_the_viewer_has_the_photo(call):
    photo = drawn()
    call.photo(photo, acknowledged=False)
    for n in range(10):
        call.frame(moved(photo, n, 0))
    assert call.bytes == 0
    call.live.photo_acknowledged(0)
    for n in range(10):
        call.frame(moved(photo, n, 0))
    assert call.fields


def test_an_acknowledgement_of_a_photo_that_was_never_sent_changes_nothing(call):
    call.live.photo_acknowledged(77)
    call.photo(drawn())
    for _ in range(12):
        call.frame(moved(drawn(), 4, 0))
    assert {field.photo_id for field in call.fields} == {0}


def test_a_second_photo_takes_over_when_it_is_acknowledged(call):
    first, second = drawn(), drawn(5)
    call.photo(first)
    for _ in range(10):
        call.frame(moved(first, 4, 0))
    call.photo(second, photo_id=1, acknowledged=False)
    for _ in range(4):
        call.frame(moved(first, 4, 0))
    assert {field.photo_id for field in call.fields} == {0}
    call.live.photo_acknowledged(1)
    for _ in range(12):
        call.frame(moved(second, 4, 0))
    assert call.fields[-1].photo_id == 1


def test_a_new_viewer_gets_fields_that_need_none_before(call):
    photo = drawn()
    call.photo(photo)
    for n in range(20):
        call.frame(moved(photo, 0.5 * n, 0))
    call.live.new_receiver()
    call.coder.forget_keys()
    call.photo(photo)
    call.decoder, call.receipts, call.fields = MotionDecoder(), MotionReceipts(), []
    call._on_way.clear()
    call.live.take((call.number + 1) * PERIOD_MS)
    for n in range(20, 40):
        call.frame(moved(photo, 0.5 * n, 0))
    assert call.fields
    assert call.dropped <= 1


def test_lost_messages_are_noticed_and_later_fields_stand_without_them():
    call = Call(lost=lambda n: n % 5 == 0, late=20)
    try:
        call.live.set_rate(4.0, 0.2)
        photo = drawn()
        call.photo(photo)
        for n in range(120):
            call.frame(moved(photo, 6 * np.sin(n / 9), 0))
        assert call.dropped < 0.5 * len(call.fields)
        assert call.fields[-1].sequence >= 110
    finally:
        call.close()


@pytest.mark.parametrize(
    ("bad", "seen", "state"),
    [
        (drawn(9), True, LoopState.CHANGED),
        (drawn(9), False, LoopState.CHANGED),
        (np.zeros((256, 256, 3), np.uint8), False, LoopState.COVERED),
    ],
)
def test_a_picture_that_nothing_explains_is_noticed_in_time_and_the_field_is_taken_back(call, bad, seen, state):
    photo = drawn()
    call.photo(photo)
    for _ in range(24):
        call.frame(moved(photo, 5, 0))
    assert call.live.report.state is LoopState.STEADY
    assert call.fields[-1].control.any()
    began = call.number
    while call.live.report.state is not state:
        call.frame(bad, seen)
        assert (call.number - began) * PERIOD_MS <= 300
    for _ in range(6):
        call.frame(bad, seen)
    assert not call.fields[-1].control.any()
    for _ in range(14):
        call.frame(moved(photo, 5, 0))
    assert call.live.report.state is LoopState.STEADY
    assert call.fields[-1].control.any()


def test_a_slow_loop_looks_again_at_once_at_what_it_cannot_explain(call):
    photo = drawn()
    call.photo(photo)
    call.live._paces = (8,)
    for _ in range(80):
        call.frame(moved(photo, 5, 0))
    assert call.live.report.state is LoopState.STEADY
    began = call.number
    while call.live.report.state is not LoopState.CHANGED:
        call.frame(drawn(9))
        assert call.number - began <= 8 + 2


def test_without_a_face_the_field_is_held(call):
    photo = drawn()
    call.photo(photo)
    for _ in range(12):
        call.frame(moved(photo, 3, 0))
    call.frame(moved(photo, 3, 0), seen=False)
    call.frame(moved(photo, 3, 0), seen=False)
    before = call.bytes
    for n in range(12):
        call.frame(moved(photo, 3 + n, 0), seen=False)
    assert call.bytes == before


def test_the_log_says_where_the_picture_is_unsure(tmp_path):
    log = tmp_path / "loop.jsonl"
    call = Call(log=log)
    try:
        photo = drawn()
        call.photo(photo)
        camera = photo.copy()
        camera[64:128, 64:128] = 255 - drawn(4)[64:128, 64:128]
        for _ in range(10):
            call.frame(camera)
    finally:
        call.close()
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(entries) >= 3
    unsure = np.array(entries[-1]["confidence"])
    assert unsure.shape == (8, 8)
    assert unsure[2:4, 2:4].mean() < 0.5
    assert unsure[6:].mean() > 0.8


def test_a_narrow_budget_is_kept():
    call = Call(kbps=0.5)
    try:
        photo = drawn()
        call.photo(photo)
        bend = np.random.default_rng(1).normal(0, 2, (8, 8, 2)).astype(np.float32)
        for n in range(100):
            field = cv2.resize(bend * np.sin(n / 3), (256, 256), interpolation=cv2.INTER_CUBIC)
            places = np.dstack(np.meshgrid(*2 * [np.arange(256, dtype=np.float32)])).astype(np.float32) + field
            call.frame(cv2.remap(photo, places, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        assert call.fields
        # savings for a second and a half, and two bytes a section, come on top
        assert call.bytes <= 0.5 * 125 * (100 * PERIOD_MS / 1000 + 1.5) + 2 * len(call.fields)
    finally:
        call.close()


def test_a_budget_saves_up_and_asks_more_for_a_bit_when_it_is_spent():
    budget = FieldBudget(1.6)
    room, price = budget.packet(0.0)
    assert price == budget.price
    assert 24 <= room <= 255
    for i in range(20):
        room, dearer = budget.packet(0.01 * i)
        budget.spent(room)
    assert room < 24
    assert dearer > 8 * price
    total = sum(_spend_all(budget, 10 + 0.08 * i) for i in range(500))
    assert total * 8 / 1000 / 40 == pytest.approx(1.6, rel=0.1)
    budget.kbps = 0.0
    assert budget.packet(100.0)[0] == 0


def _spend_all(budget, now):
    room, _ = budget.packet(now)
    budget.spent(room)
    return room


def test_the_copy_conceals_as_the_viewer_does():
    model = FaceModel.load()
    viewer = ViewerOfCall(model, PERIOD_MS)
    assert viewer.frame_at(0.0) is None
    camera = Camera(90.0, np.zeros(3, np.float32), np.array([128, 128, 0], np.float32))
    parameters = FrameParameters(np.zeros(28, np.float32), camera)
    photo = Photo(0, 0, encode_photo(drawn()), parameters)
    for message in [encode_identity(np.zeros(model.identities, np.float32), 0), *photo.messages()]:
        viewer.photo_sent(message)
    assert viewer.frame_at(0.0) is None
    viewer.photo_acknowledged(0)
    coder = ParameterEncoder("low", again=1)
    coder.set_reference(photo.fit)
    for n in range(1, 12):
        place = replace(camera, translation=np.array([128 + n, 128, 0], np.float32))
        shown = replace(parameters, camera=place)
        data = coder.encode(shown.vector())
        if data is not None:
            viewer.packet(data, n * PERIOD_MS)
    concealed, own = viewer.frame_at(11 * PERIOD_MS), viewer.frame_at(11 * PERIOD_MS, shown)
    assert concealed is not None
    assert own is not None
    flows = [viewer.memory.warp.flow(frame) for frame in (concealed, own)]
    assert float(np.abs(flows[0] - flows[1])[96:160, 96:160].mean()) < 1.5


def test_a_slow_loop_looks_less_often():
    live = LiveMotion(FaceModel.load(), PERIOD_MS, 1.0, pause_s=0.0)
    try:
        assert live.every == 2
        live._thread.usual_s = 0.03
        assert live.every == 4
        live._thread.usual_s = 1.0
        assert live.every == 8
    finally:
        live.close()
