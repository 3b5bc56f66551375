"""A whole call on this machine, measured: signalling here, sender and receiver as two processes, real WebRTC between them.

``headwire demo`` is this with a picture to look at; the call benchmark runs it over a grid of links.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codec.errors import HeadwireError, UsageError
from sender.demo_clip import CLIPS, demo_clip
from transport.process import stop_signals
from transport.signalling_server import SignallingServer

DEMO_FOLDER = Path("demo")
SAID = "headwire: "
"""What an end's own words on standard error begin with."""

_END_PATIENCE_S = 10.0


@dataclass(frozen=True)
class DemoSettings:
    """What ``headwire demo`` was asked for, in the order of its options.

    play: a video, else the named demo clip. seconds: length of the call; a shorter video is played again.
    sink: where the viewer's picture goes; None: both sides side by side in ``demo/call.mp4``. show: ``call``, or
    there, ``error``: where the sender knows the viewer's picture to be wrong; ``memory``: and which pictures it is painted from.
    background: the sender's.
    """

    play: Path | None = None
    clip: str = "wolfgang"
    seconds: float | None = None
    sink: str | None = None
    model: str = "auto"
    rate: str = "normal"
    photos_kbps: float = 3.0
    motion: str = "auto"
    link: str | None = None
    show: str = "call"
    background: str | None = None


def run_demo(settings: DemoSettings, quiet: bool = False) -> dict[str, Any]:
    """Make the call and return its figures; without a sink also ``demo/call.mp4``.

    Raises UsageError for what the user got wrong, HeadwireError with its last words when an end failed.
    """
    start = 0.0
    if settings.show != "call" and (settings.motion == "off" or settings.sink is not None):
        raise UsageError(
            f"--show {settings.show} is drawn into the film, by what motion knows: leave out --sink and --motion off"
        )
    play = settings.play
    if play is None:
        play = demo_clip(settings.clip)
        start = CLIPS[settings.clip].start_s
    with tempfile.TemporaryDirectory(prefix="headwire-demo-") as folder:
        figures = asyncio.run(_call(settings, play, start, Path(folder), quiet))
        if settings.sink is None and figures:
            from receiver.side_by_side import compose

            DEMO_FOLDER.mkdir(exist_ok=True)
            target = DEMO_FOLDER / "call.mp4"
            work = Path(folder)
            errors = work / "sent.jsonl" if settings.show != "call" else None
            ends = (work / "sent.rec", work / "shown.rec", work / "shown.jsonl")
            compose(*ends, target, wire=figures, errors=errors, memory=settings.show == "memory")
            figures["video"] = str(target)
    return figures


def record_call(settings: DemoSettings, folder: Path, start: float | None = None) -> dict[str, Any]:
    """Make a call that records both ends' pictures in a folder (``sent.rec``, ``shown.rec``); its figures.

    start: s of the clip to skip; None: the clip's own beginning.
    """
    play = settings.play or demo_clip(settings.clip)
    begin = start if start is not None else 0.0 if settings.play else CLIPS[settings.clip].start_s
    return asyncio.run(_call(replace(settings, sink=None), play, begin, folder, quiet=True))


def run() -> dict[str, Any]:
    """``headwire bench call``: 30 s of the demo clip, nothing recorded."""
    return run_demo(DemoSettings(seconds=30, sink="null"), quiet=True)


async def _call(settings: DemoSettings, play: Path, start: float, work: Path, quiet: bool) -> dict[str, Any]:
    async with SignallingServer("127.0.0.1", 0) as server:
        room = ["--room", "demo", "--signal", server.url, "--json"]
        link = ["--link", settings.link] if settings.link else []
        send = ["send", *room, *link, "--play", str(play), "--start", str(start), "--rate", settings.rate]
        send += ["--no-audio"] if settings.play is None else []
        send += ["--background", settings.background] if settings.background else []
        send += ["--photos", str(settings.photos_kbps), "--motion", settings.motion]
        send += ["--seconds", str(settings.seconds), "--loop"] if settings.seconds else []
        receive = ["receive", *room, *link, "--model", settings.model]
        if settings.sink is None:
            send += ["--record", str(work / "sent.rec")]
            send += ["--log", str(work / "sent.jsonl")] if settings.show != "call" else []
            receive += ["--sink", str(work / "shown.rec"), "--log", str(work / "shown.jsonl")]
        else:
            receive += ["--sink", settings.sink]
        with stop_signals() as stopped:
            ends = [await _start(receive, work / "receive.json"), await _start(send, work / "send.json")]
            try:
                await _watch(ends, stopped, settings.seconds, quiet)
            finally:
                words = await asyncio.gather(*(_finish(end) for end in ends))
    codes = [end.returncode or 0 for end in ends]
    if any(codes) and not stopped.is_set():
        raise failure(codes, words)
    return _merge(json.loads((work / "send.json").read_text()), json.loads((work / "receive.json").read_text()))


def failure(codes: list[int], words: list[str]) -> HeadwireError:
    """What to say of a call of which an end failed: that end's own words, where it has any.

    codes: exit codes of receiver and sender. words: what each said in the end; empty: nothing.
    """
    failed = [(text, name, code) for name, text, code in zip(("receiver", "sender"), words, codes, strict=True) if code]
    text, name, code = max(failed, key=lambda end: bool(end[0]))
    return _Failed(text or f"the call's {name} ended with code {code} and said nothing", code)


class _Failed(HeadwireError):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code if code in (1, 2) else 1


async def _start(arguments: list[str], output: Path) -> asyncio.subprocess.Process:
    import headwire

    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with output.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            headwire.__file__,
            *arguments,
            stdout=file,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )


async def _watch(
    ends: list[asyncio.subprocess.Process], stopped: asyncio.Event, seconds: float | None, quiet: bool
) -> None:
    """Until one end finishes or the user stops; a progress bar meanwhile."""
    waits = [asyncio.ensure_future(end.wait()) for end in ends] + [asyncio.ensure_future(stopped.wait())]
    done = asyncio.ensure_future(asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED))
    if quiet or not sys.stderr.isatty():
        await done
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("calling"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=seconds)
            while not done.done():
                await asyncio.wait([done], timeout=0.2)
                progress.advance(task, 0.2)
    for wait in waits:
        wait.cancel()


async def _finish(end: asyncio.subprocess.Process) -> str:
    """Let an end finish, ask it to, then make it. Returns its last words on standard error, not counting what others wrote there."""
    assert end.stderr is not None
    errors = asyncio.ensure_future(end.stderr.read())
    for number in (None, signal.SIGINT, signal.SIGKILL):
        if number is not None and end.returncode is None:
            end.send_signal(number)
        try:
            await asyncio.wait_for(end.wait(), 2.0 if number is None else _END_PATIENCE_S)
            break
        except TimeoutError:
            continue
    lines = (await errors).decode(errors="replace").splitlines()
    return next((line.removeprefix(SAID) for line in reversed(lines) if line.startswith(SAID)), "")


def _merge(sent: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """One table of both ends' figures. The wire is counted where it is sent: forward by the sender, back by the receiver."""
    if not sent or not shown:
        return {}
    figures = {
        "seconds": sent["seconds"],
        "frames_captured": sent["frames_captured"],
        "frames_sent": sent["frames_sent"],
        "frames_shown": shown["frames_shown"],
        "fps": shown["fps"],
        "payload_kbps": sent["payload_kbps"],
        "motion_kbps": sent["motion_kbps"],
        "audio_kbps": sent["audio_kbps"],
        "reference_bytes": sent["reference_bytes"],
        "wire_kbps_forward": sent["wire_kbps_forward"],
        "wire_kbps_return": shown["wire_kbps_return"],
        "wire_kbps_steady": sent["wire_kbps_steady"],
        "wire_kbps_return_steady": shown["wire_kbps_return_steady"],
        "setup_bytes_forward": sent["setup_bytes_forward"],
        "setup_bytes_return": shown["setup_bytes_return"],
        "setup_seconds": sent["setup_seconds"],
        "carrier": sent["carrier"],
        "rungs": sent["rungs"],
    }
    names = ["first_picture_s", "first_frame_s"]
    names += ["latency_ms", "freeze_ms_max", "lost", "recovered", "late", "skipped", "early", "damaged"]
    names += ["fields", "fields_dropped", "av_skew_ms"]
    figures |= {name: shown[name] for name in names}
    for name in ("stages_ms", "cpu_percent", "rss_mb"):
        figures[name] = sent[name] | shown[name]
    return figures | {name: shown[name] for name in ("model", "device", "threads")}
