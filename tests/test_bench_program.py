"""libaom through the ffmpeg program: found, asked, and not believed when what it writes is damaged."""

import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import codec_program
from bench.codec_program import VARIABLE, packets_of
from bench.codecs import Codec, MissingCodecError, create_codec, sanity
from bench.metrics import psnr
from codec.errors import HeadwireError
from tests.test_bench_codecs import FPS, square_frames

STAND_IN = """#!{python}
import struct, sys
import av
if "-encoders" in sys.argv:
    print(" V....D libaom-av1 " if {has} else " V....D libx264 ")
    sys.exit()
if {fails}:
    sys.exit("Unknown encoder")
width, height = map(int, sys.argv[sys.argv.index("-s") + 1].split("x"))
data, size = sys.stdin.buffer.read(), width * height * 3 // 2
encoder = av.CodecContext.create("libsvtav1", "w")
encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = width, height, "yuv420p", 25
encoder.thread_count, encoder.max_b_frames = 1, 0
encoder.options = {{"crf": sys.argv[sys.argv.index("-crf") + 1], "preset": "10", "svtav1-params": "pred-struct=1:lp=1:rtc=1"}}
packets = []
import numpy
for n in range(len(data) // size):
    picture = numpy.frombuffer(data[n * size : (n + 1) * size], numpy.uint8).reshape(height * 3 // 2, width)
    frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
    frame.pts = n
    packets += encoder.encode(frame)
packets += encoder.encode(None)
out = b"DKIF" + bytes(28)
for packet in packets:
    out += struct.pack("<IQ", len(bytes(packet)), 0) + bytes(packet)
sys.stdout.buffer.write(out)
"""
"""Stands for an ffmpeg program with libaom where there is none: SVT-AV1 in its place, the same pipes."""


def program(folder: Path, has: bool = True, fails: bool = False) -> Path:
    path = folder / "ffmpeg"
    path.write_text(STAND_IN.format(python=sys.executable, has=has, fails=fails))
    path.chmod(0o755)
    return path


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    codec_program._has.cache_clear()
    monkeypatch.setattr(codec_program, "_in_pyav", lambda _: False)
    return create_codec("av1-aom")


def there_and_back(codec: Codec) -> None:
    frames = square_frames(10)
    encoded = codec.encode(frames, FPS, "60@128:12.5")
    assert [packet.frame for packet in encoded.packets] == [0, 2, 4, 6, 8]
    assert 20 < encoded.wire_kbps() <= 60
    shown = codec.decode(encoded)
    assert shown.shape == frames.shape
    assert psnr(frames, shown).mean() > 23
    sanity(encoded, frames, shown)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script")
def test_pictures_go_in_and_packets_come_out(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(program(tmp_path)))
    codec.check()
    there_and_back(codec)


def test_the_program_itself_where_it_is_there(codec: Codec):
    named = os.environ.get(VARIABLE) or shutil.which("ffmpeg")
    if not codec_program._has(named, "libaom-av1"):
        pytest.skip("there is no ffmpeg program with libaom here")
    there_and_back(codec)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script")
def test_a_program_that_has_no_libaom_or_is_none_is_missing(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for place in (program(tmp_path, has=False), tmp_path / "nowhere"):
        monkeypatch.setenv(VARIABLE, str(place))
        with pytest.raises(MissingCodecError, match=f"libaom-av1 is not in .*name it in {VARIABLE}"):
            codec.check()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script")
def test_a_program_that_fails_is_a_sentence(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, str(program(tmp_path, fails=True)))
    with pytest.raises(HeadwireError, match=r"ffmpeg ended with code 1 \(Unknown encoder\)"):
        codec.encode(square_frames(2), FPS, "60@64:25")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(HeadwireError, match="cannot be run"):
        codec.encode(square_frames(2), FPS, "60@64:25")


def test_an_ivf_file_is_read_to_the_last_byte_or_refused():
    whole = b"DKIF" + bytes(28) + b"".join(struct.pack("<IQ", n, 0) + bytes(n) for n in (5, 0, 3))
    assert [len(packet) for packet in packets_of(whole)] == [5, 0, 3]
    assert packets_of(whole[:32]) == []
    ends = {32, 49, 61, len(whole)}
    for cut in set(range(len(whole))) - ends:
        with pytest.raises(HeadwireError, match="IVF"):
            packets_of(whole[:cut])
    with pytest.raises(HeadwireError, match="no IVF"):
        packets_of(np.random.default_rng(0).bytes(100))
