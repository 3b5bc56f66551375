"""Sinks: files that hold exactly what was shown, or nothing at all."""

from __future__ import annotations

import asyncio
import errno
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError
from receiver.recording import read_recording
from receiver.sinks import open_sink, with_badge
from receiver.sinks_browser import BrowserSink
from receiver.sinks_files import ContainerSink, rational

Picture = NDArray[np.uint8]


def pictures(count: int) -> list[Picture]:
    """Smooth pictures that move and change colour, with some noise."""
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(5).integers(0, 12, (256, 256, 3))
    return [
        (
            np.stack([128 + 100 * np.sin((x + 3 * k) / 40), 128 + 100 * np.cos(y / 30), 90 + 0 * x + 5 * (k % 20)], -1)
            + noise
        )
        .clip(0, 255)
        .astype(np.uint8)
        for k in range(count)
    ]


def read(path: Path) -> tuple[Fraction, list[float], list[Picture]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        rate = stream.average_rate
    assert rate is not None
    return (
        rate,
        [float(frame.time or 0) for frame in frames],
        [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames],
    )


@pytest.mark.parametrize(("suffix", "worst"), [(".mkv", 0), (".y4m", 3), (".mp4", 40)])
@pytest.mark.parametrize("fps", [25.0, 24000 / 1001, 12.5])
def test_a_decoded_file_has_frame_i_for_frame_i(tmp_path: Path, suffix: str, worst: int, fps: float) -> None:
    path = tmp_path / f"a{suffix}"
    shown = pictures(40)
    with open_sink(str(path), fps, realtime=False) as sink:
        for k, picture in enumerate(shown):
            sink.show(picture, k / fps)
    rate, times, seen = read(path)
    assert float(rate) == pytest.approx(fps, abs=1e-6)
    assert len(seen) == len(shown)
    np.testing.assert_allclose(times, np.arange(40) / fps, atol=6e-4)
    errors = [int(np.abs(a.astype(int) - b).max()) for a, b in zip(shown, seen, strict=True)]
    assert max(errors) <= worst
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_real_time_file_keeps_the_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    times = [0.0, 0.04, 0.5, 0.51, 0.9, 0.9, 2.0]
    with open_sink(str(path), 25) as sink:
        for picture, time_s in zip(pictures(7), times, strict=True):
            sink.show(picture, 7.0 + time_s)
    _, seen, _ = read(path)
    begin = 0.0 if suffix == ".mp4" else 7.0
    np.testing.assert_allclose(seen, begin + np.array(times), atol=2e-3)


def test_sound_is_kept_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)).astype(np.float32)
    with open_sink(str(path), 25, audio=True, realtime=False) as sink:
        for k, picture in enumerate(pictures(50)):
            sink.show(picture, k / 25)
            if k >= 25:
                sink.play(tone[(k - 25) * 1920 : (k - 24) * 1920], k / 25)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    sound = np.concatenate(frames)
    assert np.abs(sound[5000:43000]).max() < 0.02, "silence where none came"
    assert sound[53000:90000].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_an_exception_leaves_no_file_and_the_old_one_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def interrupted(kind: type[BaseException]) -> None:
        with open_sink(str(path), 25) as sink:
            for k, picture in enumerate(pictures(5)):
                sink.show(picture, k / 25)
            raise kind

    for kind in (KeyboardInterrupt, ValueError):
        with pytest.raises(kind):
            interrupted(kind)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


def test_no_frame_no_file(tmp_path: Path) -> None:
    open_sink(str(tmp_path / "a.mkv"), 25).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ContainerSink, picture: Picture, time_s: float, index: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ContainerSink, "_write", full)
    sink = open_sink(str(tmp_path / "a.mp4"), 25)
    sink.show(pictures(1)[0], 0.0)
    with pytest.raises(HeadwireError, match="disk is full"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_full(tmp_path: Path) -> None:
    (tmp_path / "a.y4m").symlink_to("/dev/full")
    sink = open_sink(str(tmp_path / "a.y4m"), 25)
    sink.close()
    with pytest.raises(UsageError, match="no such folder: /nowhere"):
        open_sink("/nowhere/a.mp4", 25)
    with pytest.raises(UsageError, match="cannot be written"):
        open_sink("/proc/a.mp4", 25)
    (tmp_path / "b.mkv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        open_sink(str(tmp_path / "b.mkv"), 25)


@pytest.mark.parametrize("spec", ["screen", "a.avi", "browser:x", "browser:70000", ""])
def test_unknown_sinks(spec: str) -> None:
    with pytest.raises(UsageError, match="browser"):
        open_sink(spec, 25)


def test_no_screen_and_no_virtual_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(HeadwireError, match=r"no screen.*browser"):
        open_sink("window", 25)
    if not list(Path("/sys/class/video4linux").glob("*")):
        with pytest.raises(HeadwireError, match="v4l2loopback"):
            open_sink("camera", 25)


def test_badge_is_drawn_on_a_copy() -> None:
    picture = pictures(1)[0]
    kept = picture.copy()
    marked = with_badge(picture, "no face")
    assert (picture == kept).all()
    assert (marked[:200] == kept[:200]).all(), "only the lower edge"
    assert (marked[225:] != kept[225:]).mean() > 0.1
    assert with_badge(picture, None) is picture


def test_a_recording_survives_being_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    shown = pictures(4)
    with open_sink(str(path), 25) as sink:
        for k, picture in enumerate(shown):
            sink.show(picture, 0.04 * k)
    frames = list(read_recording(path))
    assert [frame.time_s for frame in frames] == [0.04 * k for k in range(4)]
    assert max(np.abs(a.astype(float) - b.picture).mean() for a, b in zip(shown, frames, strict=True)) < 3
    path.write_bytes(path.read_bytes()[:-100])
    assert len(list(read_recording(path))) == 3
    path.write_bytes(b"\xff" * 5000)
    assert list(read_recording(path)) == []


def test_the_browser_page_shows_the_newest_picture() -> None:
    async def next_level(socket: aiohttp.ClientWebSocketResponse) -> int:
        data: Any = await socket.receive_bytes(timeout=5)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        await socket.send_str("next")
        return round(float(picture.mean()))

    async def watch(sink: BrowserSink) -> list[int]:
        seen = []
        async with aiohttp.ClientSession() as session:
            page = await (await session.get(sink.url)).text()
            assert "<title>A &lt;call&gt;</title>" in page
            foreign = await session.get(sink.url + "pictures", headers={"Origin": "http://elsewhere.example"})
            assert foreign.status == 403
            async with session.ws_connect(sink.url + "pictures") as socket:
                for level in (40, 90, 200):
                    for k in (0, 10):
                        sink.show(np.full((256, 256, 3), level + k, np.uint8), 0.0)
                    await asyncio.sleep(0.1)
                    seen.append(await next_level(socket))
                while seen[-1] <= 195:
                    seen.append(await next_level(socket))
        return seen

    with open_sink("browser:0", 25, title="A <call>") as sink:
        assert isinstance(sink, BrowserSink)
        assert sink.url.startswith("http://127.0.0.1:")
        seen = asyncio.run(watch(sink))
        assert seen == sorted(seen)
        assert len(seen) <= 5
        port = sink.url.rstrip("/").rsplit(":", 1)[1]
        with pytest.raises(UsageError, match="is taken"):
            open_sink(f"browser:{port}", 25)
    with open_sink(f"browser:{port}", 25):
        time.sleep(0)


def test_frame_rates_are_the_fractions_that_are_meant() -> None:
    assert rational(23.976) == rational(24000 / 1001) == Fraction(24000, 1001)
    assert rational(29.97) == Fraction(30000, 1001)
    assert [rational(fps) for fps in (25, 12.5, 0, float("nan"))] == [25, Fraction(25, 2), 25, 25]
