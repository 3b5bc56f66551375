"""Whole calls: signalling, sender and receiver as processes, real WebRTC over loopback, a real face."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from contextlib import closing

import numpy as np
import psutil
import pytest

from bench.call import DemoSettings, failure, run_demo
from bench.motion_call import measured
from codec.errors import HeadwireError, UsageError
from receiver.pipeline import ReceiveSettings, _Receiver
from sender.demo_clip import CLIPS, demo_clip
from tests.test_cli import PROGRAM

FIGURES = [
    "seconds",
    "frames_captured",
    "frames_sent",
    "frames_shown",
    "fps",
    "payload_kbps",
    "motion_kbps",
    "audio_kbps",
    "reference_bytes",
    "wire_kbps_forward",
    "wire_kbps_return",
    "wire_kbps_steady",
    "latency_ms",
    "freeze_ms_max",
    "lost",
    "recovered",
    "late",
    "av_skew_ms",
    "stages_ms",
    "cpu_percent",
    "rss_mb",
    "model",
    "device",
    "threads",
]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Headwire processes of one test; all are gone when it ends."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [*PROGRAM, *map(str, arguments)]
        environment = os.environ | {"PYTHONFAULTHANDLER": "1"}  # one that is aborted says where it was
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        self._all.append(process)
        return process

    def stop(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def processes():
    started = Processes()
    yield started
    started.stop()


@pytest.fixture
def server(processes):
    port = free_port()
    process = processes.start("serve", "--port", port)
    assert "rooms are open" in process.stdout.readline()
    return ["--room", "test", "--signal", f"http://127.0.0.1:{port}"]


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.1)


def sending(seconds: float) -> list[object]:
    start = CLIPS["wolfgang"].start_s
    return ["--play", demo_clip("wolfgang"), "--start", start, "--seconds", seconds, "--loop", "--no-audio", "--json"]


def figures(process: subprocess.Popen[str], timeout: float = 60) -> dict:
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        raise AssertionError(f"it does not end:\n{process.communicate()[1][-5000:]}") from None
    assert process.returncode == 0, err
    return dict(json.loads(out[out.index("{\n") :]))


def test_a_call_gives_every_figure_and_frames_arrive_in_time():
    got = run_demo(DemoSettings(seconds=8, sink="null", photos_kbps=0, motion="off"), quiet=True)
    assert [name for name in FIGURES if name not in got] == []
    assert got["frames_shown"] > 60
    assert got["lost"] == got["damaged"] == 0
    assert got["frames_shown"] + got["skipped"] + got["early"] >= got["frames_sent"] - 3
    assert 0 < got["latency_ms"]["p50"] <= got["latency_ms"]["p95"] <= got["latency_ms"]["max"]
    assert 1000 < got["reference_bytes"] <= 9000
    payload = got["payload_kbps"] * got["seconds"] / 8
    assert got["wire_kbps_forward"] * got["seconds"] / 8 > payload + 28 * got["frames_sent"] / 1000


def test_what_failed_is_told_in_the_words_of_the_end_that_failed():
    assert str(failure([0, 2], ["the network is slow", "no such clip"])) == "no such clip"
    assert str(failure([1, 1], ["", "the other end left"])) == "the other end left"
    assert str(failure([-11, 0], ["", "the receiver does not answer"])) == (
        "the call's receiver ended with code -11 and said nothing"
    )
    assert [failure([0, code], ["", ""]).exit_code for code in (2, 1, -11)] == [2, 1, 1]


def test_motion_rides_along_and_the_picture_comes_nearer_to_the_cameras():
    ends = {motion: measured(DemoSettings(clip="franck", seconds=10, motion=motion)) for motion in ("off", "auto")}
    off, auto = ends["off"], ends["auto"]
    assert off["motion_kbps"] == off["fields"] == 0
    assert auto["fields"] > 10
    assert 0.02 < auto["motion_kbps"] < 2
    # The face itself, beside: 1.6 kbps; a busy machine sends fewer frames.
    assert auto["payload_kbps"] > auto["motion_kbps"] + 0.2
    assert min(off["pairs"], auto["pairs"]) > 20
    assert auto["psnr"] > off["psnr"] + 1.5


def test_errors_are_shown_in_the_film_alone(tmp_path):
    for wrong in (DemoSettings(sink="null", show="error"), DemoSettings(motion="off", show="error")):
        with pytest.raises(UsageError, match="--show error"):
            run_demo(wrong, quiet=True)


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """The demo clip's face with a sound of its own: a tone that comes and goes."""
    import av

    path = tmp_path_factory.mktemp("talking") / "talking.mkv"
    rate, seconds = 48000, 8
    t = np.arange(rate * seconds) / rate
    tone = (0.3 * np.sin(2 * np.pi * 330 * t) * (np.sin(2 * np.pi * t) > 0) * 32767).astype(np.int16)
    with av.open(str(demo_clip("wolfgang"))) as source, av.open(str(path), "w") as target:
        source.seek(10_000_000)
        video = target.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        sound = target.add_stream("libopus", rate=rate, layout="mono")
        for i, frame in enumerate(source.decode(video=0)):
            if i >= 24 * seconds:
                break
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            target.mux(video.encode(picture))
        target.mux(video.encode())
        for start in range(0, len(tone), 960):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 960], format="s16", layout="mono")
            block.sample_rate, block.pts = rate, start
            target.mux(sound.encode(block))
        target.mux(sound.encode())
    return path


def test_sound_comes_along_in_time(talking, tmp_path):
    import av

    out = tmp_path / "shown.mp4"
    got = run_demo(DemoSettings(play=talking, sink=str(out), photos_kbps=0, motion="off"), quiet=True)
    assert 5 < got["audio_kbps"] < 30
    assert got["av_skew_ms"]["p95"] < 250
    with av.open(str(out)) as container:
        sound = container.streams.audio[0]
        loud = np.concatenate([np.abs(f.to_ndarray()).max(initial=0, axis=0) for f in container.decode(sound)])
    assert loud.max() > 0.1
    quiet = (loud.reshape(-1)[: len(loud) // 480 * 480].reshape(-1, 480).max(1) < 0.02).mean()
    assert 0.3 < quiet < 0.7


def test_a_lossy_link_is_noticed_and_the_call_goes_on():
    link = "loss=0.25,delay=40,jitter=15,reorder=0.05,duplicate=0.02,seed=1"
    got = run_demo(DemoSettings(seconds=14, sink="null", link=link, photos_kbps=0, motion="off"), quiet=True)
    assert got["lost"] > 0
    assert got["recovered"] > 0
    assert got["lost"] < 0.4 * (got["lost"] + got["frames_shown"])
    assert len(got["rungs"]) > 1
    assert got["latency_ms"]["p50"] > 40
    assert got["frames_shown"] > 40


@pytest.mark.parametrize("receiver_first", [True, False])
def test_either_side_may_start_first(processes, server, tmp_path, receiver_first):
    receive = ["receive", *server, "--sink", tmp_path / "shown.mp4", "--json"]
    send = ["send", *server, *sending(8)]
    if receiver_first:
        receiver = processes.start(*receive)
        time.sleep(1.5)
        sender = processes.start(*send)
    else:
        sender = processes.start(*send)
        time.sleep(1.5)
        receiver = processes.start(*receive)
    assert figures(sender)["frames_sent"] > 20
    assert figures(receiver)["frames_shown"] > 20
    assert (tmp_path / "shown.mp4").stat().st_size > 5000
    assert [p.name for p in tmp_path.iterdir()] == ["shown.mp4"]


def test_a_killed_receiver_frees_the_room_for_the_next(processes, server, tmp_path):
    sender = processes.start("send", *server, *sending(60))
    log = tmp_path / "log.jsonl"
    first = processes.start("receive", *server, "--sink", "null", "--log", log)
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 20)
    assert sender.poll() is None
    first.send_signal(signal.SIGKILL)
    second = processes.start("receive", *server, "--sink", "null", "--json", "--seconds", 5)
    got = figures(second)
    assert got["frames_shown"] > 10
    assert sender.poll() is None
    sender.send_signal(signal.SIGINT)
    assert figures(sender)["frames_sent"] > 40


def test_a_photo_under_way_goes_on_after_a_connection_was_lost(processes, server):
    """A slow link; the receiver's connection breaks when a third of the photo is there, and it meets the same sender again."""
    _, room, _, url = server
    processes.start("send", *server, *sending(60), "--photos", 0, "--motion", "off", "--link", "rate=24,seed=1")
    receiver = _Receiver(ReceiveSettings(room, url, sink="null", seconds=14))

    async def cut() -> None:
        while receiver._peer is None or receiver._player.figures.photo_bytes < 4000:
            await asyncio.sleep(0.02)
        receiver._peer._gone("cut by the test")

    async def main() -> dict:
        cutting = asyncio.create_task(cut())
        got = await receiver.run()
        assert cutting.done()
        return got

    got = asyncio.run(main())
    assert got["resumed_bytes"] > 1500
    assert got["frames_shown"] > 50


def test_interrupted_ends_leave_nothing_behind(processes, server, tmp_path):
    sender = processes.start("send", *server, *sending(60), "--record", tmp_path / "sent.mkv")
    log = tmp_path / "log.jsonl"
    receiver = processes.start("receive", *server, "--sink", "null", "--json", "--log", log)
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 20)
    children = psutil.Process(sender.pid).children(recursive=True)
    sender.send_signal(signal.SIGINT)
    assert figures(sender, 20)["frames_sent"] > 10
    assert figures(receiver, 20)["frames_shown"] > 10
    assert not any(child.is_running() for child in children)
    assert {p.name for p in tmp_path.iterdir()} == {"sent.mkv", "log.jsonl"}


def test_a_wrong_token_is_refused_with_a_sentence(processes, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    port = free_port()
    server = processes.start("serve", "--port", port, "--secret-file", secret)
    assert "rooms are open" in server.stdout.readline()
    place = ["--room", "r", "--signal", f"http://127.0.0.1:{port}", "--sink", "null"]
    for token in ([], ["--token", "wrong"]):
        _, err = processes.start("receive", *place, *token).communicate(timeout=30)
        assert "token" in err
        assert len(err.strip().splitlines()) == 1


def test_a_taken_port_is_a_sentence(processes, server):
    port = server[-1].rsplit(":", 1)[1]
    other = processes.start("serve", "--port", port)
    _, err = other.communicate(timeout=30)
    assert other.returncode == 1
    assert port in err
    assert len(err.strip().splitlines()) == 1


def test_the_demo_reports_what_an_end_says(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(HeadwireError, match=r"text\.mp4") as caught:
        run_demo(DemoSettings(play=text, seconds=2, sink="null"), quiet=True)
    assert caught.value.exit_code == 2


def test_copy_and_paste_signalling(processes):
    sender = processes.start("send", "--room", "x", "--signal", "paste", *sending(8))
    receiver = processes.start("receive", "--room", "x", "--signal", "paste", "--sink", "null", "--json")
    carry(sender, receiver)
    carry(receiver, sender)
    assert figures(sender)["frames_sent"] > 5
    assert figures(receiver)["frames_shown"] > 5


def carry(source: subprocess.Popen[str], target: subprocess.Popen[str]) -> None:
    """What a person does: copy the code that one end prints to the other."""
    assert source.stdout is not None
    assert target.stdin is not None
    for line in source.stdout:
        code = line.strip()
        if len(code) > 200:
            target.stdin.write(code + "\n")
            target.stdin.flush()
            return
    raise AssertionError("no code was printed")
