"""The character network on numpy, and h_audio from sound that comes in pieces or lies in a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from codec.audio_features import FEATURES, LOW, PART, RATE
from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats
from models import zoo
from models.characters import WEIGHTS, CharacterNet, Ear, heard, mel
from training.sound import Listener, clip_samples, on_parts


@pytest.fixture(scope="module")
def net() -> CharacterNet:
    return CharacterNet()


def sound(parts: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    t = np.arange(parts * PART) / RATE
    voice = np.sin(2 * np.pi * (140 + 30 * np.sin(3 * t)) * t) * (np.sin(5 * t) > 0)
    return (0.3 * voice + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def test_a_tone_is_heard_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(4 * PART) / RATE).astype(np.float32)
    bands = mel(tone)[2].reshape(4, 40)
    low, high = (2595 * np.log10(1 + f / 700) for f in (60, 7600))
    edges = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    assert (np.abs(edges[bands.argmax(1) + 1] - 1000) < 100).all()


def test_shipped_weights_are_the_zoos(net: CharacterNet) -> None:
    row = next(row for row in zoo.models() if row["name"] == "characters")
    assert row["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert row["bytes"] < 2_000_000
    assert {"steps", "cer_read_test", "cer_grid_test", "licence"} <= set(json.loads(net.notes["provenance"]))


def test_numpy_and_torch_hear_the_same(net: CharacterNet) -> None:
    torch = pytest.importorskip("torch")
    from models import weights_file
    from models.characters import FORMAT
    from training.characters import CharacterNet as Taught

    tensors, _ = weights_file.read(WEIGHTS, FORMAT, "it")
    taught = Taught().eval()
    taught.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items() if not k.startswith("mix.")})
    mels = mel(sound(30))
    with torch.no_grad():
        wanted = taught(torch.from_numpy(mels)[None])[0].numpy()
    np.testing.assert_allclose(net.logits(mels, net.begin()), wanted, atol=2e-4)


def test_a_part_needs_no_sound_after_it(net: CharacterNet) -> None:
    x = sound(20)
    y = np.concatenate((x[: 10 * PART], sound(10, seed=5)))
    a, b = (net.logits(mel(z), net.begin()) for z in (x, y))
    np.testing.assert_allclose(a[:10], b[:10], atol=1e-5)
    assert not np.allclose(a[11:], b[11:], atol=1e-3)


@pytest.mark.parametrize("ahead", [0, 4, 7])
def test_pieces_of_any_length_give_what_the_whole_gives(net: CharacterNet, ahead: int) -> None:
    x = sound(25)
    ear = Ear(net, ahead)
    cuts = np.cumsum([1, 300, 5, 2000, 640, 1280, 4000])
    found = [h for piece in np.split(x, cuts) for h in ear.hear(piece)]
    assert len(found) == 25 - ahead
    found += ear.end()
    np.testing.assert_allclose(np.stack(found), heard(x, net, ahead), atol=2e-4)
    assert ear.delay == pytest.approx(0.04 * ahead)


def test_ahead_is_less_than_the_parts(net: CharacterNet) -> None:
    with pytest.raises(ValueError, match="ahead"):
        Ear(net, 8)


def test_silence_is_not_zero_but_what_silence_gives(net: CharacterNet) -> None:
    h = heard(np.zeros(300 * PART, np.float32), net)
    np.testing.assert_allclose(h[200], net.mix.silence(), atol=0.2)
    assert np.abs(net.mix.silence()[:LOW]).max() > 0.5


def test_damaged_weights(tmp_path: Path) -> None:
    whole = WEIGHTS.read_bytes()
    for name, data in (
        ("cut", whole[:-10]),
        ("empty", b""),
        ("other", (WEIGHTS.parent / "light.safetensors").read_bytes()),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HeadwireError, match="character network"):
            CharacterNet(tmp_path / name)
    with pytest.raises(HeadwireError, match="cannot be read"):
        CharacterNet(tmp_path / "none")


# Sound of clips


def video(path: Path, seconds: float, rate: int = 25, sound_rate: int | None = 48_000, late: float = 0.0) -> None:
    """Grey pictures; a click every second, beginning at 0.5 s of the pictures' clock, in sound that begins ``late``."""
    import av

    with av.open(str(path), "w") as container:
        shown = container.add_stream("libx264", rate)
        shown.width = shown.height = 64
        said = None if sound_rate is None else container.add_stream("pcm_s16le", sound_rate, layout="mono")
        for _ in range(round(seconds * rate)):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            container.mux(shown.encode(picture))
        container.mux(shown.encode())
        if said is not None and sound_rate is not None:
            t = np.arange(round(late * sound_rate), round(seconds * sound_rate))
            clicks = (np.abs((t / sound_rate) % 1 - 0.5) < 0.002).astype(np.float32) * 0.9
            samples = (clicks * 32767).astype(np.int16)
            for n in range(0, len(samples), 960):
                frame = av.AudioFrame.from_ndarray(samples[None, n : n + 960], format="s16", layout="mono")
                frame.sample_rate, frame.pts = sound_rate, round(late * sound_rate) + n
                container.mux(said.encode(frame))
            container.mux(said.encode())


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_sound_is_on_the_pictures_clock(tmp_path: Path, late: float) -> None:
    video(tmp_path / "a.mkv", 2.0, late=late)
    x = clip_samples(tmp_path / "a.mkv")
    assert np.flatnonzero(np.abs(x) > 0.3).min() / RATE == pytest.approx(0.498, abs=0.004)


def test_every_frame_has_features_at_any_rate(tmp_path: Path) -> None:
    for rate in (25, 30):
        video(tmp_path / f"{rate}.mkv", 2.0, rate)
        h = Listener().arrays(tmp_path / f"{rate}.mkv", 2 * rate)["audio"]
        assert h.shape == (2 * rate, FEATURES)
        energy = h[:, 1:LOW:21].max(1)
        assert set(np.flatnonzero(energy > energy.min() + 0.1)) <= {
            k for s in (0.5, 1.5) for k in range(int(s * rate) - 2, int(s * rate) + 3)
        }
        assert energy.argmax() in (
            rate // 2 - 1,
            rate // 2,
            rate // 2 + 1,
            3 * rate // 2 - 1,
            3 * rate // 2,
            3 * rate // 2 + 1,
        )


def test_a_clip_without_sound_has_none(tmp_path: Path) -> None:
    video(tmp_path / "a.mkv", 1.0, sound_rate=None)
    assert Listener().arrays(tmp_path / "a.mkv", 25) == {}
    (tmp_path / "b.mkv").write_bytes(b"noise")
    with pytest.raises(UsageError, match="sound"):
        Listener().arrays(tmp_path / "b.mkv", 25)


def test_sound_that_ends_early_goes_on_in_silence() -> None:
    samples, part = on_parts(np.ones(PART, np.float32), 5, 25)
    assert len(samples) == 5 * PART
    assert samples.sum() == PART
    assert part.tolist() == [0, 1, 2, 3, 4]
    assert on_parts(samples, 6, 50)[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_features_follow_weights_and_look_ahead() -> None:
    assert Listener(4).digest != Listener(0).digest
