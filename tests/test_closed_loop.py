"""The sender's loop on drawn pictures: what it sends, what the receiver makes of it, and what it says of bad frames."""

import time
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from codec.motion import LIFETIMES, MotionDecoder
from codec.motion_track import MotionTrack
from codec.parameters import Floats
from sender.closed_loop import ClosedLoop, LoopState, LoopThread
from sender.motion import MotionEncoder, MotionSettings

NOTHING: Any = np.empty(0)
CENTRES: Any = np.dstack(np.meshgrid(np.arange(256, dtype=np.float32) + 0.5, np.arange(256, dtype=np.float32) + 0.5))


def drawn(seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (32, 32, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def moved(picture, x, y):
    return cv2.remap(
        picture,
        CENTRES - np.float32(0.5) + np.array((x, y), np.float32),
        NOTHING,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def psnr(a, b):
    return 10 * np.log10(65025 / max(1e-3, float(((a.astype(float) - b) ** 2).mean())))


def shown(photo, field):
    flow = CENTRES.copy() if field is None else field.apply(CENTRES.copy())
    return cv2.remap(photo, flow - np.float32(0.5), NOTHING, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def test_a_picture_that_moves_is_followed_for_a_few_bytes():
    photo = drawn()
    encoder, decoder = MotionEncoder(MotionSettings(reliable=True)), MotionDecoder()
    encoder.set_photo(3, photo)
    sizes, field = [], None
    for n in range(1, 9):
        camera = moved(photo, 1.5 * n, -n)
        data = encoder.encode(camera, CENTRES.copy(), 2 * n)
        if data is not None:
            sizes.append(len(data))
            field = decoder.decode(data, 2 * n)
    assert field is not None
    assert encoder.field is not None
    assert (field.control == encoder.field.control).all()
    assert psnr(shown(photo, field), camera) > psnr(photo, camera) + 8
    assert max(sizes) <= 24


def test_a_still_picture_costs_nothing():
    photo = drawn()
    encoder = MotionEncoder(MotionSettings(reliable=True))
    encoder.set_photo(0, photo)
    noise = np.random.default_rng(1)
    for n in range(1, 50):
        camera = np.clip(photo + noise.normal(0, 2, photo.shape), 0, 255).astype(np.uint8)
        assert encoder.encode(camera, CENTRES.copy(), 2 * n) is None


def test_a_shift_that_stays_is_kept_alive_for_under_fifty_bits_a_second():
    photo = drawn()
    encoder, decoder, track = MotionEncoder(MotionSettings(reliable=True)), MotionDecoder(), MotionTrack()
    encoder.set_photo(0, photo)
    camera = moved(photo, 5, 0)
    sizes = {}
    for n in range(2, 1000, 2):
        data = encoder.encode(camera, CENTRES.copy(), n)
        if data is not None:
            sizes[n] = len(data)
            track.add(decoder.decode(data, n))
        got = track.at(n, {0})
        assert got is not None
        assert got.weight == 1
    late = [size for n, size in sizes.items() if n > 100]
    assert 8 * sum(late) / (900 / 25) < 50
    assert max(np.diff(list(sizes))) <= LIFETIMES[-1]


def test_without_acknowledgement_every_packet_stands_alone():
    photo = drawn()
    encoder = MotionEncoder(MotionSettings(chain=1))
    encoder.set_photo(0, photo)
    for n in range(1, 6):
        data = encoder.encode(moved(photo, 3 * n, 0), CENTRES.copy(), 2 * n)
        assert data is not None
        assert MotionDecoder().decode(data, 2 * n).photo_id == 0


def test_lost_packets_leave_every_later_one_decodable():
    photo = drawn()
    encoder, decoder = MotionEncoder(MotionSettings(chain=1)), MotionDecoder()
    encoder.set_photo(0, photo)
    decoded = 0
    waiting: list[int] = []
    for n in range(1, 40):
        while waiting and waiting[0] <= 2 * n - 8:
            encoder.acknowledge(waiting.pop(0))
        data = encoder.encode(moved(photo, 8 * np.sin(n / 4), 0), CENTRES.copy(), 2 * n)
        if data is not None and n % 3:
            decoder.decode(data, 2 * n)
            waiting.append(2 * n)
            decoded += 1
    assert decoded > 15


def test_a_budget_is_kept():
    photo = drawn()
    encoder = MotionEncoder(MotionSettings(price=1.0))
    encoder.set_photo(0, photo)
    bend = np.dstack((4 * np.sin(CENTRES[..., 1] / 20), 4 * np.cos(CENTRES[..., 0] / 25))).astype(np.float32)
    camera = cv2.remap(photo, CENTRES + bend, NOTHING, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    free = encoder.encode(camera, CENTRES.copy(), 2)
    encoder.restart()
    tight = encoder.encode(camera, CENTRES.copy(), 2, budget=20)
    assert free is not None
    assert tight is not None
    assert len(free) > 40
    assert len(tight) <= 20


@pytest.mark.parametrize(
    ("bad", "state"),
    [
        (drawn(9), LoopState.CHANGED),
        (np.full((256, 256, 3), 128, np.uint8), LoopState.COVERED),
        (np.zeros((256, 256, 3), np.uint8), LoopState.COVERED),
    ],
)
def test_the_loop_notices_within_three_fields_takes_the_field_back_and_recovers(bad, state):
    photo = drawn()
    loop, decoder = ClosedLoop(MotionSettings(reliable=True)), MotionDecoder()
    loop.set_photo(0, photo)
    for n in range(1, 30):
        report = loop.step(moved(photo, 4, 0), CENTRES.copy(), 2 * n)
        assert report.state is LoopState.STEADY
        if report.data is not None:
            decoder.decode(report.data, 2 * n)
    assert report.confidence.mean() > 0.8
    states, last = [], None
    for n in range(30, 40):
        report = loop.step(bad, CENTRES.copy(), 2 * n)
        states.append(report.state)
        if report.data is not None:
            last = decoder.decode(report.data, 2 * n)
    assert state in states[:3]
    assert set(states[2:]) == {state}
    assert last is not None
    assert not last.control.any()
    for n in range(40, 46):
        report = loop.step(moved(photo, 4, 0), CENTRES.copy(), 2 * n)
    assert report.state is LoopState.STEADY
    assert report.field is not None


def test_a_change_that_stays_is_accepted_in_the_end():
    photo = drawn()
    loop = ClosedLoop(MotionSettings(reliable=True))
    loop.set_photo(0, photo)
    for n in range(1, 20):
        loop.step(photo, CENTRES.copy(), 2 * n)
    brighter = np.clip(photo.astype(int) + 25, 0, 255).astype(np.uint8)
    states = [loop.step(brighter, CENTRES.copy(), 2 * n).state for n in range(20, 60)]
    assert states[2] is LoopState.CHANGED
    assert states[-1] is LoopState.STEADY


def test_another_picture_that_stays_is_never_painted_over_the_photo():
    photo = drawn()
    loop = ClosedLoop(MotionSettings(reliable=True))
    loop.set_photo(0, photo)
    for n in range(1, 20):
        loop.step(photo, CENTRES.copy(), 2 * n)
    other = np.where(drawn(9) > 128, 255, 0).astype(np.uint8)
    reports = [loop.step(other, CENTRES.copy(), 2 * n) for n in range(20, 80)]
    assert all(report.state is LoopState.CHANGED for report in reports[2:])
    assert all(report.data is None for report in reports[2:])


def test_a_region_that_motion_cannot_explain_is_unsure_there_only():
    photo = drawn()
    loop = ClosedLoop(MotionSettings(reliable=True))
    loop.set_photo(0, photo)
    camera = photo.copy()
    camera[64:128, 64:128] = 255 - drawn(4)[64:128, 64:128]
    report = loop.step(camera, CENTRES.copy(), 2)
    inside = report.confidence[2:4, 2:4]
    outside = np.delete(report.confidence.ravel(), [r * 8 + c for r in range(1, 5) for c in range(1, 5)])
    assert inside.mean() < 0.5
    assert outside.mean() > 0.9


def test_the_thread_never_holds_up_the_one_who_offers_and_drops_old_frames():
    photo = drawn()
    thread: LoopThread[Floats] = LoopThread(ClosedLoop(MotionSettings(reliable=True)))
    thread.set_photo(0, photo)
    asked = []

    def flow(n):
        asked.append(n)
        time.sleep(0.02)
        return CENTRES.copy()

    for n in range(1, 200):
        thread.offer(moved(photo, 0.05 * n, 0) if n % 50 == 0 else photo, partial(flow, n), 2 * n)
    thread.close()
    reports = []
    while (report := thread.take()) is not None:
        reports.append(report)
    assert len(reports) == len(asked) < 199
    assert [r.sequence for r in reports] == sorted(r.sequence for r in reports)
