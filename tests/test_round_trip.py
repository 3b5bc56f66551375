"""encode -> decode: the same packets as a call, frame for frame, on a real face."""

import json
from fractions import Fraction

import numpy as np
import pytest

from codec.errors import UsageError
from codec.hwfile import Channel, HeadwireReader, HeadwireWriter
from codec.inspection import inspect
from codec.parameter_codec import ParameterDecoder
from codec.photo import PhotoAssembler
from receiver.files import decode_file
from sender.demo_clip import demo_clip
from sender.files import EncodeSettings, encode_file, fit_file
from sender.tracking import FaceTracker
from tests.test_cli import headwire


def read(path):
    import av

    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)], container.streams.video[
            0
        ].average_rate


def write(path, pictures, rate):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds of the demo clip's face, square, lossless, at an odd rate."""
    import av

    path = tmp_path_factory.mktemp("clip") / "face.mkv"
    pictures = []
    with av.open(str(demo_clip("wolfgang"))) as container, FaceTracker("auto") as tracker:
        container.seek(10_000_000)
        for frame in container.decode(video=0):
            pictures.append(tracker.track(frame.to_ndarray(format="rgb24").astype(np.uint8)).picture)
            if len(pictures) == 50:
                break
    write(path, pictures, Fraction(30000, 1001))
    return path, pictures


@pytest.fixture(scope="module")
def coded(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("coded") / "face.hw"
    encode_file(EncodeSettings(clip[0], path, crop="none"))
    return path


def test_decode_returns_every_frame_in_order_at_the_same_rate(clip, coded, tmp_path):
    out = tmp_path / "out.mkv"
    figures = decode_file(coded, out, "warp")
    decoded, rate = read(out)
    _, pictures = clip
    assert figures["frames"] == len(decoded) == len(pictures)
    assert rate == Fraction(30000, 1001)
    assert {p.shape for p in decoded} == {(256, 256, 3)}
    error = np.array([[np.abs(a.astype(int) - b).mean() for b in pictures] for a in decoded])
    frozen = np.array([np.abs(pictures[0].astype(int) - b).mean() for b in pictures])
    assert np.diag(error).mean() < frozen.mean()
    by_lag = {lag: np.diag(error, lag).mean() for lag in range(-4, 5)}
    assert min(by_lag, key=by_lag.__getitem__) == 0


def test_info_counts_every_byte(coded):
    figures = inspect(coded)
    parts = figures["reference_bytes"] + figures["parameter_bytes"] + figures["motion_bytes"] + figures["header_bytes"]
    assert parts + figures["audio_bytes"] == coded.stat().st_size
    assert figures["frames"] == 50
    assert figures["photos"] == 1
    assert figures["first_photo_bytes"] <= 8000
    assert figures["payload_kbps"] == pytest.approx(
        figures["parameter_bytes"] * 8 / 1000 / figures["seconds"], rel=1e-3
    )


def test_decode_writes_mp4_too(coded, tmp_path):
    assert headwire("decode", coded, tmp_path / "out.mp4", "--json")
    decoded, _ = read(tmp_path / "out.mp4")
    assert len(decoded) == 50


def test_a_file_cut_off_in_the_middle_still_decodes(coded, tmp_path):
    cut = tmp_path / "cut.hw"
    cut.write_bytes(coded.read_bytes()[:-60])
    whole_records = 4 * sum(m.channel is Channel.PARAMETERS for m in HeadwireReader(cut))
    figures = decode_file(cut, tmp_path / "out.mkv", "warp")
    assert figures["truncated"]
    assert 0 < figures["frames"] == whole_records < 50


def test_damaged_packets_repeat_the_last_picture(coded, tmp_path):
    damaged = tmp_path / "damaged.hw"
    reader = HeadwireReader(coded)
    with HeadwireWriter(damaged, reader.rate) as writer:
        writer.frames = 50
        for i, message in enumerate(reader):
            spoil = message.channel is Channel.PARAMETERS and i % 4 == 0
            writer.write(type(message)(message.channel, b"\xff" * 30) if spoil else message)
    figures = decode_file(damaged, tmp_path / "out.mkv", "warp")
    assert figures["frames"] == 50
    assert figures["damaged_messages"] >= 3


def test_fit_writes_what_it_promises(clip, tmp_path):
    out = tmp_path / "fit.npz"
    figures = fit_file(clip[0], out, "none", None)
    arrays = np.load(out)
    assert arrays["expression"].shape == (50, 28)
    assert arrays["camera"].shape == (50, 7)
    assert arrays["landmarks"].shape == arrays["projected"].shape == (50, 478, 2)
    eyes = arrays["landmarks"][:, 263] - arrays["landmarks"][:, 33]
    rms = np.sqrt(((arrays["projected"] - arrays["landmarks"]) ** 2).sum(-1).mean(-1)) / np.linalg.norm(eyes, axis=1)
    assert figures["error_iod_mean"] == pytest.approx(rms.mean(), rel=0.02)
    assert rms.mean() < 0.02
    assert figures["lost"] == 0


def test_the_reference_may_be_a_frame_number_or_a_picture(clip, coded, tmp_path):
    from PIL import Image

    chosen = tmp_path / "20.hw"
    encode_file(EncodeSettings(clip[0], chosen, crop="none", reference="20"))
    photo = tmp_path / "photo.png"
    Image.fromarray(clip[1][20]).save(photo)
    given = tmp_path / "photo.hw"
    encode_file(EncodeSettings(clip[0], given, crop="none", reference=str(photo)))
    assert inspect(chosen)["frames"] == inspect(given)["frames"] == 50
    with pytest.raises(UsageError, match="frame 500"):
        encode_file(EncodeSettings(clip[0], tmp_path / "x.hw", crop="none", reference="500"))


def packets(path):
    """Every parameter packet of a file, decoded."""
    decoder, assembler, found = ParameterDecoder(), PhotoAssembler(), []
    for message in HeadwireReader(path):
        if message.channel is Channel.PHOTOS:
            reference = assembler.add(message.data)
            if reference is not None and reference.fit is not None:
                decoder.keys.set_reference(reference.fit)
        elif message.channel is Channel.PARAMETERS:
            found.append(decoder.decode(message.data))
    return found


def test_packets_of_a_file_are_those_of_the_wire(coded):
    found = packets(coded)
    assert [p.sequence for p in found] == [i % 16 for i in range(len(found))]
    assert sum(len(p.frames) for p in found) == 52
    assert all(frame.confidence == 3 for p in found for frame in p.frames)


@pytest.mark.parametrize("rate", ["low", "lowest"])
def test_lower_rates_are_lower(clip, coded, tmp_path, rate):
    lower = tmp_path / "lower.hw"
    encode_file(EncodeSettings(clip[0], lower, crop="none", rate=rate))
    assert inspect(lower)["parameter_bytes"] < 0.85 * inspect(coded)["parameter_bytes"]
    assert decode_file(lower, tmp_path / "out.mkv", "warp")["frames"] == 50


def test_info_on_the_command_line(coded):
    assert json.loads(headwire("info", coded, "--json").stdout) == inspect(coded)


def test_a_face_that_leaves_is_held_and_comes_back(clip, tmp_path):
    _, pictures = clip
    away = np.random.default_rng(0).integers(90, 110, (75, 256, 256, 3), np.uint8)
    write(tmp_path / "leaves.mkv", [*pictures[:30], *away, *pictures[30:]], Fraction(25))
    figures = encode_file(EncodeSettings(tmp_path / "leaves.mkv", tmp_path / "leaves.hw", crop="none"))
    sure = [frame.confidence for p in packets(tmp_path / "leaves.hw") for frame in p.frames][:125]
    held = [i for i, confidence in enumerate(sure) if confidence == 0]
    assert figures["frames"] == 125
    assert set(held) <= set(range(30, 115))
    assert len(held) >= 70
    assert decode_file(tmp_path / "leaves.hw", tmp_path / "out.mkv", "warp")["frames"] == 125
    decoded, _ = read(tmp_path / "out.mkv")
    moved = [np.abs(decoded[i + 1].astype(int) - decoded[i]).mean() for i in range(45, 100)]
    assert np.median(moved) == 0
    assert max(moved) < 1
