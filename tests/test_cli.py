"""The command line as a user meets it: one sentence and exit code 2 for a mistake, no traceback, no half-written file."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from codec.hwfile import HeadwireWriter

PROGRAM = [sys.executable, str(Path(__file__).parent.parent / "headwire.py")]


def headwire(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == code, done.stderr
    return done


def complaint(*arguments: object, code: int = 2) -> str:
    """The one line on standard error of a command that fails."""
    lines = headwire(*arguments, code=code).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("headwire: ")
    return lines[0]


@pytest.fixture(scope="module")
def faceless(tmp_path_factory):
    """A video of noise: real H.264, nobody in it."""
    import av

    path = tmp_path_factory.mktemp("clips") / "noise.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (240, 320, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


COMMANDS = ["demo", "serve", "send", "receive", "devices", "encode", "decode", "info", "fit", "models"]
COMMANDS += ["reenact", "edit", "frontalise", "view"]


def test_help_lists_every_command():
    text = headwire("--help").stdout
    assert all(f" {command} " in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    assert "Usage" in headwire(command, "--help").stdout


def test_help_imports_nothing_heavy():
    heavy = ["numpy", "cv2", "numba", "mediapipe", "av", "aiortc", "torch", "openvino"]
    code = f"import sys, headwire; print([m for m in {heavy} if m in sys.modules])"
    root = Path(PROGRAM[1]).parent
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True).stdout
    assert out.strip() == "[]"


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path):
    assert "IN" in complaint("encode")
    assert "--crop" in complaint("encode", "--crop", "blue", "a", "b")
    assert "nope" in complaint("nope")


def test_no_such_file(tmp_path):
    target = tmp_path / "out.hw"
    assert "none.mp4" in complaint("encode", tmp_path / "none.mp4", target)
    assert "none.hw" in complaint("info", tmp_path / "none.hw")
    assert "none.hw" in complaint("decode", tmp_path / "none.hw", tmp_path / "out.mp4")
    assert "none.mp4" in complaint("fit", tmp_path / "none.mp4", tmp_path / "out.npz")
    assert list(tmp_path.iterdir()) == []


def test_not_a_video(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    assert "text.mp4" in complaint("encode", text, tmp_path / "out.hw")
    assert not (tmp_path / "out.hw").exists()


def test_no_face_leaves_no_file(faceless, tmp_path):
    assert "no face" in complaint("encode", faceless, tmp_path / "out.hw")
    assert "no face" in complaint("fit", faceless, tmp_path / "out.npz")
    assert list(tmp_path.iterdir()) == []


def test_missing_output_folder(faceless, tmp_path):
    assert "none" in complaint("encode", faceless, tmp_path / "none" / "out.hw")
    assert "none" in complaint("fit", faceless, tmp_path / "none" / "out.npz")


def test_foreign_and_empty_headwire_files(tmp_path):
    foreign = tmp_path / "foreign.hw"
    foreign.write_bytes(b"RIFF" + bytes(100))
    assert "not a Headwire file" in complaint("info", foreign, code=1)
    assert "not a Headwire file" in complaint("decode", foreign, tmp_path / "out.mp4", code=1)
    empty = tmp_path / "empty.hw"
    HeadwireWriter(empty, Fraction(25)).close()
    assert json.loads(headwire("info", empty, "--json").stdout)["frames"] == 0
    assert "photo" in complaint("decode", empty, tmp_path / "out.mp4", code=1)
    assert "end in" in complaint("decode", empty, tmp_path / "out.gif")
    assert {p.name for p in tmp_path.iterdir()} == {"foreign.hw", "empty.hw"}


def test_a_call_that_cannot_be_made(faceless, tmp_path):
    nobody = "http://127.0.0.1:9"
    assert "127.0.0.1:9" in complaint("receive", "--room", "r", "--signal", nobody, "--sink", "null", code=1)
    assert "none.mp4" in complaint("send", "--room", "r", "--signal", nobody, "--play", tmp_path / "none.mp4")
    assert "sink" in complaint("receive", "--room", "r", "--signal", nobody, "--sink", "nowhere")
    assert "model" in complaint("receive", "--room", "r", "--signal", nobody, "--sink", "null", "--model", "nope")
    assert "link" in complaint("receive", "--room", "r", "--signal", nobody, "--sink", "null", "--link", "loss=7")


def test_an_absent_camera():
    assert "camera" in complaint("send", "--room", "r", "--signal", "http://127.0.0.1:9", "--camera", "97")


def test_models_lists_warp_with_all_fields():
    found = {m["name"]: m for m in json.loads(headwire("models", "--json").stdout)}
    fields = {"name", "parameters", "gmac", "weights", "bytes", "sha256", "licence", "provenance"}
    assert fields <= found["warp"].keys()


def test_mistakes_of_the_editing_commands_are_one_sentence(faceless, tmp_path):
    none, out = tmp_path / "none.png", tmp_path / "out.png"
    assert "none.png" in complaint("edit", none, out)
    assert "--gaze" in complaint("edit", none, out, "--gaze", "up")
    assert "--expression" in complaint("edit", none, out, "--expression", "smile")
    assert "none.png" in complaint("view", none, tmp_path / "out.mp4")
    assert "none.png" in complaint("frontalise", none, out)
    assert "no face" in complaint("frontalise", faceless, tmp_path / "out.mp4")
    assert "none.png" in complaint("reenact", none, faceless, tmp_path / "out.mp4")
    assert "end in" in complaint("reenact", none, faceless, out)
    assert list(tmp_path.iterdir()) == []


def test_devices_prints_every_kind():
    found = json.loads(headwire("devices", "--json").stdout)
    assert {"cameras", "microphones", "speakers"} <= found.keys()
