"""What a generator with audio hears: on the clock of the frames, as in training, in a call and from a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio_features import LOW, PART
from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.file_sound import SoundPacket, read_sound
from codec.hwfile import Channel, HeadwireReader, HeadwireWriter, Message
from codec.inspection import inspect
from codec.parameters import EXPRESSION, SIZE, Camera, Floats, FrameParameters, ReferenceFrame
from models.characters import CharacterNet, heard
from models.headgan import AUDIO, HeadGANConfig
from models.warp import Warp
from receiver.file_sound import file_sound
from receiver.files import decode_file
from receiver.hearing import HELD, MARGIN_S, SOUND_RATE, Hearing, Thirds, hearing_for
from receiver.painter import FacePainter
from receiver.sinks import Sink
from sender.file_sound import sound_messages
from tests.test_player import Viewer
from transport.voice_receiver import AudioChunk

PIECE = 960


def speech(seconds: float, seed: int = 0) -> Floats:
    """(N,) at 48 kHz: a voice-like sound with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    voice = sum(np.sin(2 * np.pi * n * (150 + 20 * np.sin(3 * t)) * t) / n for n in range(1, 20))
    return (0.1 * voice * (np.sin(7 * t) > 0) + 0.003 * rng.standard_normal(len(t))).astype(np.float32)


def click(seconds: float, at: float) -> Floats:
    """(N,) at 48 kHz: silence with 5 ms of noise in it."""
    sound = np.zeros(round(seconds * SOUND_RATE), np.float32)
    first = round(at * SOUND_RATE)
    sound[first : first + 240] = np.random.default_rng(1).uniform(-0.8, 0.8, 240)
    return sound


def fed(hearing: Hearing, sound: Floats, begin: float = 0.0, first: int = 0) -> Hearing:
    """Give sound in pieces as the voice's packets have them."""
    for n in range(first, len(sound), PIECE):
        hearing.add(sound[n : n + PIECE], begin + n / SOUND_RATE)
    return hearing


def loudest(hearing: Hearing, frames: int, period: float = 0.04) -> int:
    """The frame whose own part has most energy."""
    energy = [hearing.at(n * period, period)[1:LOW:21].max() for n in range(frames)]
    return int(np.argmax(energy))


def test_a_third_of_the_samples_keeps_what_can_be_kept() -> None:
    t = np.arange(SOUND_RATE) / SOUND_RATE
    low, high = (np.sin(2 * np.pi * f * t).astype(np.float32) for f in (1000, 11_000))
    out = Thirds()(low)
    wanted = low[: 3 * len(out) : 3]
    assert np.abs(out[50:] - wanted[50:]).max() < 0.01
    assert np.abs(Thirds()(high)[50:]).max() < 0.01
    pieces, cut = Thirds(), np.split(low, [1, 2, 50, 100, 961, 5000])
    np.testing.assert_allclose(np.concatenate([pieces(x) for x in cut]), out, atol=1e-5)


@pytest.mark.parametrize(("rate", "ahead"), [(25, 4), (30, 0)])
def test_frames_hear_in_a_call_what_they_heard_in_training(rate: int, ahead: int) -> None:
    training_sound = pytest.importorskip("training.sound")
    sound = speech(2.0)
    thirds = Thirds()(np.concatenate((sound, np.zeros(48, np.float32))))
    samples, part = training_sound.on_parts(thirds, 2 * rate, rate)
    wanted = heard(samples, CharacterNet(), ahead)[part]
    hearing = fed(Hearing(ahead), sound)
    known = 2 * rate - 8
    found = np.stack([hearing.at(n / rate, 1 / rate) for n in range(known)])
    np.testing.assert_allclose(found, wanted[:known], atol=2e-3)
    assert np.abs(wanted[1:] - wanted[:-1]).max() > 1


def test_a_click_is_heard_in_its_frame() -> None:
    assert loudest(fed(Hearing(4), click(2.0, 0.815)), 40) == 20
    assert loudest(fed(Hearing(0), click(2.0, 0.79)), 40) == 19
    # The sound begins in the middle: nothing of it was before.
    assert loudest(fed(Hearing(4), click(3.0, 2.215), first=50 * PIECE), 70) == 55


def test_before_the_first_sound_it_is_silent() -> None:
    silence = CharacterNet().mix.silence()
    hearing = Hearing(4)
    assert np.array_equal(hearing.at(3.0), silence)
    assert hearing.wait_s == 0
    fed(hearing, speech(1.0), begin=10.0)
    assert np.array_equal(hearing.at(5.0), silence)
    assert not np.array_equal(hearing.at(10.5), silence)
    assert hearing.wait_s == pytest.approx(5 * 0.04 + PIECE / SOUND_RATE + MARGIN_S)
    hearing.restart()
    assert hearing.wait_s == 0
    assert np.array_equal(hearing.at(10.5), silence)


def test_lost_packets_and_pauses_move_nothing() -> None:
    hearing, sound = Hearing(0), click(4.0, 3.615)
    for n in range(0, len(sound), PIECE):
        if not 100 <= n // PIECE < 103:
            hearing.add(sound[n : n + PIECE], n / SOUND_RATE)
    assert loudest(hearing, 95) == 90
    paused = fed(Hearing(0), speech(0.5))
    fed(paused, sound, first=150 * PIECE)
    assert loudest(paused, 95) == 90


def test_what_has_not_come_is_the_last_that_has_and_then_silence() -> None:
    hearing = fed(Hearing(0), speech(1.0))
    last = next(n for n in range(30) if np.array_equal(hearing.at(0.04 * n), hearing.at(0.04 * (n + 1))))
    for n in range(HELD):
        assert np.array_equal(hearing.at(0.04 * (last + n)), hearing.at(0.04 * last))
    assert np.array_equal(hearing.at(0.04 * (last + HELD + 1)), CharacterNet().mix.silence())


def _reference() -> ReferenceFrame:
    model = FaceModel.load()
    camera = Camera(75.0, np.zeros(3, np.float32), np.array((128, 130, 0), np.float32))
    fit = FrameParameters(np.zeros(EXPRESSION, np.float32), camera)
    return ReferenceFrame(0, np.full((SIZE, SIZE, 3), 90, np.uint8), fit, np.zeros(model.identities, np.float32))


def _generator(folder: Path, audio: int) -> Any:
    torch = pytest.importorskip("torch")
    from models.headgan import HeadGAN
    from models.headgan_networks import HeadGANNet
    from training.export import export_net

    torch.manual_seed(0)
    net = HeadGANNet(HeadGANConfig(width=0.05, audio=audio, ahead=2))
    return HeadGAN(FaceModel.load(), export_net(net, folder / f"{audio}.safetensors", "fp32", {}), "cpu")


def test_headgan_paints_what_is_said(tmp_path: Path) -> None:
    generator = _generator(tmp_path, AUDIO)
    painter = FacePainter(generator, generator.face_model)
    assert painter.hearing is not None
    assert painter.hearing.ahead == 2
    painter._memory.remember(_reference())
    parameters = _reference().parameters
    quiet = painter.paint(parameters, time_s=0.4)
    fed(painter.hearing, speech(1.0))
    loud = painter.paint(parameters, time_s=0.4)
    assert not np.array_equal(loud, quiet)
    assert np.array_equal(generator.audio, painter.hearing.at(0.4))
    painter.restart(40.0)
    assert np.array_equal(generator.audio, CharacterNet().mix.silence())
    painter._memory.remember(_reference())
    assert np.array_equal(painter.paint(parameters, time_s=0.4), quiet)


def test_a_generator_without_audio_costs_nothing(tmp_path: Path) -> None:
    assert hearing_for(Warp(FaceModel.load())) is None
    assert hearing_for(_generator(tmp_path, 0)) is None


class Listening(Warp):
    """``warp`` that keeps what it is given to hear, and as many pictures."""

    ahead = 0

    def __init__(self) -> None:
        super().__init__(FaceModel.load())
        self.told: list[Floats] = []

    def listen(self, features: Floats) -> None:
        self.told.append(features)


class Played(Sink):
    """Keeps the times of pictures and sounds in the order in which they come."""

    def __init__(self) -> None:
        self.came: list[tuple[str, float]] = []

    def show(self, picture: Any, time_s: float, badge: str | None = None) -> None:
        self.came.append(("picture", time_s))

    def play(self, samples: Floats, time_s: float) -> None:
        self.came.append(("sound", time_s))


@pytest.fixture
def said() -> tuple[Any, Hearing]:
    """Twelve seconds of speech, int16, and what is heard of them."""
    pcm = (speech(12.0) * 32767).astype(np.int16)
    whole = Hearing(0)
    whole.hear_all(pcm.astype(np.float32) / 32768)
    return pcm, whole


@pytest.fixture
def listening(said: Any) -> Iterator[Any]:
    viewer = Viewer(Listening())
    yield viewer
    viewer.player.stop()
    assert viewer.player.failure is None


def test_in_a_call_frames_wait_for_their_sound(said: tuple[Any, Hearing], listening: Any) -> None:
    """Sound and frames come in step: frames are told the h of their own time, and are shown when its sound is played.

    A machine that is busy shows some late, so the call goes on until enough of them were as they should be.
    """
    (pcm, whole), generator, played = said, listening.player._painter._generator, Played()
    listening.player._sinks.append(played)
    own = in_step = 0
    for n in range(len(pcm) // (2 * PIECE)):
        for at in (2 * n * PIECE, (2 * n + 1) * PIECE):
            chunk = AudioChunk(pcm[at : at + PIECE], at, at / SOUND_RATE, time.monotonic())
            listening.player.take_sound(chunk, 0.0)
        listening.frame()
        came = list(played.came)
        pictures = [i for i, (what, _) in enumerate(came) if what == "picture"]
        heard_at = list(zip([came[i][1] for i in pictures], generator.told, strict=False))
        own = sum(t > 0.5 and np.allclose(h, whole.at(t), atol=1e-2) for t, h in heard_at)
        in_step = sum(
            any(what == "sound" and abs(t - came[i][1]) < 0.06 for what, t in came[max(0, i - 3) : i]) for i in pictures
        )
        if own >= 10 and in_step >= 10:
            break
    assert own >= 10
    assert in_step >= 10


# Files


def test_a_record_of_sound() -> None:
    assert read_sound(SoundPacket(-312, b"opus").pack()) == SoundPacket(-312, b"opus")
    for bad in (b"", b"\0\0\0", b"\0\0\0\0"):
        with pytest.raises(BitstreamError, match="sound"):
            read_sound(bad)


def _video(path: Path, sound: Floats, pictures: list[Any], rate: int = 25) -> Path:
    import av

    with av.open(str(path), "w") as container:
        shown = container.add_stream("ffv1", rate=rate)
        shown.height, shown.width = pictures[0].shape[:2]
        shown.pix_fmt = "bgr0"
        said = container.add_stream("pcm_s16le", SOUND_RATE, layout="mono")
        for picture in pictures:
            container.mux(shown.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(shown.encode())
        samples = (sound * 32767).astype(np.int16)
        for n in range(0, len(samples), PIECE):
            frame = av.AudioFrame.from_ndarray(samples[None, n : n + PIECE], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, n
            frame.time_base = Fraction(1, SOUND_RATE)
            container.mux(said.encode(frame))
        container.mux(said.encode())
    return path


def test_a_files_sound_comes_back_at_its_time(tmp_path: Path) -> None:
    video = _video(tmp_path / "a.mkv", click(1.5, 0.815), [np.zeros((16, 16, 3), np.uint8)] * 38)
    path = tmp_path / "a.hw"
    with HeadwireWriter(path, Fraction(25)) as writer:
        for message in sound_messages(video):
            writer.write(message)
        writer.write(Message(Channel.AUDIO, b"\0"))
        writer.write(Message(Channel.AUDIO, SoundPacket(2**31 - 1, b"\xff\xff\xff").pack()))
    sound = file_sound(path)
    assert 1.5 <= len(sound) / SOUND_RATE < 1.7
    assert np.abs(sound).argmax() / SOUND_RATE == pytest.approx(0.8175, abs=0.006)
    hearing = Hearing(4)
    hearing.hear_all(sound)
    assert loudest(hearing, 38) == 20
    assert not np.array_equal(hearing.at(1.48), CharacterNet().mix.silence())


def test_a_file_is_heard_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from receiver import files
    from sender.files import EncodeSettings, encode_file
    from tests.training_helpers import face_picture

    model = FaceModel.load()
    neutral = model.neutral(np.zeros(model.identities, np.float32))
    pictures = []
    for t in range(30):
        camera = Camera(75.0, np.array((0, 0.01 * t, 0), np.float32), np.array((128, 130, 0), np.float32))
        pictures.append(face_picture(model, model.project(neutral, camera)))
    video = _video(tmp_path / "a.mkv", click(1.2, 0.415), pictures)
    monkeypatch.setattr("sender.files.FaceTracker", _tracker(model, neutral))
    quiet, loud = tmp_path / "quiet.hw", tmp_path / "loud.hw"
    for path in (quiet, loud):
        encode_file(EncodeSettings(video, path, "none", sound=path == loud))
    assert inspect(quiet)["audio_bytes"] == 0
    assert inspect(loud)["audio_bytes"] > 500
    assert inspect(loud)["payload_kbps"] == inspect(quiet)["payload_kbps"]
    generator = Listening()
    monkeypatch.setattr(files, "create", lambda *_: generator)
    assert decode_file(loud, tmp_path / "out.mp4", "warp")["frames"] == 30
    assert len(generator.told) == 30
    assert int(np.argmax([h[1:LOW:21].max() for h in generator.told])) == 10
    import av

    with av.open(str(tmp_path / "out.mp4")) as container:
        said = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.abs(said).argmax() / SOUND_RATE == pytest.approx(0.4175, abs=0.05)
    decode_file(quiet, tmp_path / "quiet.mp4", "warp")
    assert np.array_equal(generator.told[-1], CharacterNet().mix.silence())
    with av.open(str(tmp_path / "quiet.mp4")) as container:
        assert not container.streams.audio
    assert all(message.channel is not Channel.AUDIO for message in HeadwireReader(quiet))


def _tracker(model: FaceModel, neutral: Floats) -> Any:
    """Stands for the landmark network, which does not know this drawn face: the landmarks that it was drawn from."""
    from codec.parameters import Window
    from sender.crop import Square
    from sender.tracking import Tracked

    class Known:
        def __init__(self, crop: str) -> None:
            self.t = 0

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def track(self, picture: Any) -> Tracked:
            camera = Camera(75.0, np.array((0, 0.01 * self.t, 0), np.float32), np.array((128, 130, 0), np.float32))
            self.t += 1
            points = np.ascontiguousarray(model.project(neutral, camera), np.float32)
            return Tracked(picture, Window(), Square(0, 0, SIZE), points)

        def close(self) -> None:
            return None

    return Known


def test_parts_are_those_of_the_features() -> None:
    assert PART * 3 == 2 * PIECE
