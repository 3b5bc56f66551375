"""Capture: every frame in order without a clock, the newest frame with one, and a sentence for what is no video."""

from __future__ import annotations

import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from codec.errors import HeadwireError, UsageError
from sender.cameras import camera_address, linux_cameras
from sender.capture import SCALED_SIDE, open_source
from tests.videos import number, numbered, write_video


def test_every_frame_in_order_without_a_clock(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(50))
    with open_source(video, None, realtime=False) as source:
        frames = list(source)
    assert source.fps == 25
    assert source.size == (64, 48)
    assert [frame.index for frame in frames] == list(range(50))
    assert [number(frame.picture) for frame in frames] == list(range(50))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(50) / 25, atol=2e-3)


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 220
    with open_source(write_video(tmp_path / "a.mp4", [red] * 3), None, realtime=False) as source:
        picture = next(iter(source)).picture
    assert np.abs(picture.mean((0, 1)) - (220, 0, 0)).max() < 6


def test_a_slow_consumer_gets_the_newest_frame(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(50))
    seen = []
    with open_source(video, None) as source:
        for frame in source:
            seen.append((frame.index, number(frame.picture)))
            time.sleep(0.15)
    assert all(index == shown for index, shown in seen)
    assert len(seen) < 25, "frames that were missed must be dropped"
    assert seen == sorted(set(seen))
    assert seen[-1][0] > 40, "what was dropped is not made up for later"


def test_a_quick_consumer_gets_every_frame_at_its_time(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(20))
    with open_source(video, None) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    taken = np.array([frame.captured_at for frame in frames]) - frames[0].captured_at
    assert (taken >= np.array([frame.time_s for frame in frames]) - 0.005).all(), "no frame before it is due"


def test_loop_start_and_seconds(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(25))
    with open_source(video, None, realtime=False, start=0.8, loop=True, seconds=0.48) as source:
        frames = list(source)
    assert [number(frame.picture) for frame in frames] == [20, 21, 22, 23, 24] * 2 + [20, 21]
    assert [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose(np.diff([frame.time_s for frame in frames]), 0.04, atol=2e-3)


@pytest.mark.parametrize(
    ("rate", "limit", "expected"), [(60, 25, 30), (30, 25, 30), (50, 25, 25), (5, 25, 5), (25, 25, 25)]
)
def test_fast_sources_are_thinned_to_an_even_pace(tmp_path: Path, rate: int, limit: int, expected: int) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(rate, height=32), fps=rate)
    with open_source(video, None, realtime=False, max_fps=limit) as source:
        frames = list(source)
    assert source.fps == pytest.approx(expected, rel=0.01)
    assert len(frames) == expected
    assert np.ptp(np.diff([frame.time_s for frame in frames])) < 3e-3, "the pace is even"


def test_variable_frame_rate_keeps_its_time_stamps(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.3, 0.32, 0.9, 1.0]
    video = write_video(tmp_path / "a.mkv", numbered(6), times=times)
    with open_source(video, None, realtime=False) as source:
        frames = list(source)
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=2e-3)


@pytest.mark.parametrize("size", [(101, 67), (48, 120)])
def test_odd_and_portrait_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    video = write_video(tmp_path / "a.mkv", numbered(3, *size))
    with open_source(video, None, realtime=False) as source:
        assert source.size == size
        assert [frame.picture.shape for frame in source] == [(size[1], size[0], 3)] * 3


def test_rotation_in_the_metadata_is_applied(tmp_path: Path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:20, :30] = 255
    for rotation, corner in ((90, "bottom left"), (180, "bottom right"), (270, "top right")):
        video = write_video(tmp_path / f"{rotation}.mp4", [picture] * 3, rotation=rotation)
        with av.open(str(video)) as container:
            turned = next(container.decode(video=0)).rotation % 360
        with open_source(video, None, realtime=False) as source:
            upright = next(iter(source)).picture
        height, width = upright.shape[:2]
        assert (width, height) == ((96, 64) if rotation == 180 else (64, 96))
        bright = {
            "top left": upright[:15, :15],
            "top right": upright[:15, -15:],
            "bottom left": upright[-15:, :15],
            "bottom right": upright[-15:, -15:],
        }
        assert turned in (rotation, 360 - rotation)
        assert max(bright, key=lambda name: float(bright[name].mean())) == corner


def test_4k_is_scaled(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(2, 3840, 2160))
    with open_source(video, None, realtime=False) as source:
        assert source.size == (SCALED_SIDE, 720)
        assert [number(frame.picture) for frame in source] == [0, 1]


def test_what_is_no_video_is_told_in_a_sentence(tmp_path: Path) -> None:
    empty, text, cut, photo = (tmp_path / name for name in ("empty.mp4", "notes.mp4", "cut.mp4", "photo.jpg"))
    empty.touch()
    text.write_text("this is a letter, not a video\n" * 40)
    whole = write_video(tmp_path / "whole.mp4", numbered(30)).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    for path, words in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "folder"),
        (empty, "empty"),
        (text, "not a video"),
        (cut, "cut off"),
        (photo, "picture, not a video"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            open_source(path, None)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="both"):
        open_source(photo, 0)


def test_a_sound_file_and_a_start_beyond_the_end(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
    with pytest.raises(UsageError, match="no picture"):
        open_source(sound, None)
    with pytest.raises(UsageError, match="after 9 s"):
        open_source(write_video(tmp_path / "a.mp4", numbered(5)), None, start=9.0)


def test_a_damaged_file_gives_what_can_be_decoded(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", numbered(50))
    data = video.read_bytes()
    video.write_bytes(data[: int(len(data) * 0.6)])
    with open_source(video, None, realtime=False) as source:
        seen = [number(frame.picture) for frame in source]
    assert 1 <= len(seen) < 50
    assert seen == sorted(seen)


def test_closing_ends_the_iteration_and_the_thread(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", numbered(50))
    with open_source(video, None, loop=True) as source:
        iterator = iter(source)
        next(iterator)
        thread = source._thread
        source.close()
        assert next(iterator, None) is None
    assert thread is not None
    assert not thread.is_alive()


def test_cameras_by_index_and_name(tmp_path: Path) -> None:
    for node, name, index in (
        ("video0", "Integrated Camera", "0"),
        ("video1", "Integrated Camera", "1"),
        ("video2", "USB Cam", "0"),
    ):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(name + "\n")
        (tmp_path / node / "index").write_text(index + "\n")
    assert linux_cameras(tmp_path) == [(0, "Integrated Camera"), (2, "USB Cam")]
    for wanted in ("2", 2, "USB Cam", "usb", "/dev/video2"):
        assert camera_address(wanted, tmp_path, "linux").file == "/dev/video2"
    assert camera_address(None, tmp_path, "linux").file == "/dev/video0"
    with pytest.raises(UsageError, match="USB Cam"):
        camera_address("7", tmp_path, "linux")
    with pytest.raises(UsageError, match="--play"):
        camera_address(None, tmp_path / "none", "linux")


def test_a_camera_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # the list says there is a camera, the device file is missing: as when it was just unplugged
    node = tmp_path / "video97"
    node.mkdir()
    (node / "name").write_text("Gone")
    (node / "index").write_text("0")
    monkeypatch.setattr("sender.cameras.camera_address", lambda camera: camera_address(camera, tmp_path, "linux"))
    with pytest.raises(HeadwireError, match=r"97 \(Gone\) cannot be opened: .*headwire devices"):
        open_source(None, "Gone")
