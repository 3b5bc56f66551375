"""Training the character network: its texts, its loss, its loop, its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import UsageError  # noqa: E402
from codec.parameters import Floats  # noqa: E402
from training import characters, checkpoints, speech, speech_store  # noqa: E402
from training.characters import CharacterSettings, CharacterTask, SpeechBatch, SpeechSource, collapsed, distance  # noqa: E402
from training.loop import LoopSettings  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of noise whose letters follow its level."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for n in range(3):
        rows = []
        for _ in range(80):
            text = "".join(rng.choice(list("ab"), 3))
            levels = np.repeat([0.5 if c == "a" else 0.01 for c in text], 3 * 640)
            rows.append(((levels * rng.standard_normal(len(levels))).astype(np.float32), text))
        assert speech_store.save(folder / f"said_{n:03d}.npz", rows) == 80
    return folder


def test_texts_become_letters() -> None:
    assert speech.plain("Don't go, Bob!") == "dontgobob"
    assert speech_store.classes("a b-z").tolist() == [1, 2, 26]


def test_sentences_are_of_known_words(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(
        'The cat sat down. The xqz sat down!\n%\nIt was 1984 then. "A cat sat"\nno\n', encoding="utf-8"
    )
    words = frozenset(["the", "cat", "sat", "down", "it", "was", "then", "a", "no"])
    assert speech.sentences(tmp_path, words) == ["The cat sat down", "A cat sat"]


def test_what_ctc_cannot_write_is_left_out() -> None:
    assert speech_store.fits(speech_store.classes("ab"), 3)
    assert not speech_store.fits(speech_store.classes("aa"), 3)
    assert not speech_store.fits(speech_store.classes(""), 9)


def test_a_shard_comes_back(store: Path) -> None:
    shard = speech_store.load(store / "said_000.npz")
    assert len(shard.mels) == len(shard.letters) == 80
    assert shard.mels[0].shape == (9, 160)
    assert set(np.concatenate(shard.letters).tolist()) == {1, 2}


def test_roughened_speech_keeps_its_time_and_level() -> None:
    said = np.sin(0.3 * np.arange(16_000)).astype(np.float32)
    for seed in range(6):
        x = speech.roughened(said, np.random.default_rng(seed))
        assert 17_000 < len(x) < 33_000
        assert np.isfinite(x).all()
        assert 0.05 < np.abs(x).max() < 1.3


def test_opus_gives_back_as_much_as_it_got() -> None:
    said = (0.5 * np.sin(0.2 * np.arange(16_100))).astype(np.float32)
    back = speech.through_opus(said, 24_000)
    assert abs(len(back) - len(said)) <= 320
    assert np.abs(np.fft.rfft(back[:16_000])).argmax() == pytest.approx(16_000 * 0.2 / 2 / np.pi, abs=2)


def test_missing_synthesisers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="apt install espeak-ng flite"):
        speech.Voices()


def test_the_loss_by_hand() -> None:
    """One letter in two parts: a blank, a letter; a letter, a blank; or the letter twice."""
    task = CharacterTask(CharacterSettings(rate=0.0), 10, (torch.zeros(160), torch.ones(160)))
    logits = torch.zeros(1, 2, 27)
    logits[0, 0, 3], logits[0, 1, 0] = 2.0, 1.0
    p = logits[0].softmax(1)
    wanted = -torch.log(p[0, 0] * p[1, 3] + p[0, 3] * p[1, 0] + p[0, 3] * p[1, 3])
    batch = SpeechBatch(torch.zeros(1, 2, 160), torch.tensor([2]), torch.tensor([3]), torch.tensor([1]), 0)
    said = task.step(batch, {"net": lambda mels: logits + 0 * task.net(mels)})
    assert said["ctc"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_letters_of_logits() -> None:
    logits = np.eye(27, dtype=np.float32)[[0, 3, 3, 0, 3, 5, 5]]
    assert collapsed(logits).tolist() == [3, 3, 5]


@pytest.mark.parametrize(
    ("a", "b", "wrong"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0)]
)
def test_distance(a: str, b: str, wrong: int) -> None:
    assert distance([ord(c) for c in a], np.array([ord(c) for c in b])) == wrong


def test_batches_depend_on_place_alone(store: Path) -> None:
    source = SpeechSource(CharacterSettings(store=store), seed=1, batch=4)
    whole, half = source.batch(3, range(4)), source.batch(3, range(2, 4))
    assert torch.equal(whole.mels[2:], half.mels)
    assert whole.lengths.sum() == len(whole.letters)
    assert not torch.equal(source.batch(4, range(4)).mels, whole.mels)


def test_the_rate_rises_and_falls() -> None:
    rates = [characters.schedule(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 200, rel=0.01)
    assert 150 <= int(np.argmax(rates)) <= 200
    assert rates[-1] == pytest.approx(0.02, abs=0.001)


def test_a_resumed_run_is_the_same(store: Path, tmp_path: Path) -> None:
    settings = CharacterSettings(store=store, rate=3e-3)
    loop = LoopSettings(tmp_path / "whole", 4, batch=4, device="cpu", picture_every=0, validate_every=0, log_every=1)
    figures = characters.run(settings, loop)
    assert figures["cer_said_test"] >= 0
    characters.run(settings, replace(loop, run=tmp_path / "cut", checkpoint_every=3))
    cut = tmp_path / "cut"
    (cut / checkpoints.PREVIOUS).replace(cut / checkpoints.LATEST)
    half = checkpoints.load(cut)
    assert half is not None
    assert half["step"] == 3
    characters.run(settings, replace(loop, run=cut))
    one, two = (checkpoints.load(path) for path in (tmp_path / "whole", cut))
    assert one is not None
    assert two is not None
    for key, value in one["modules"]["net"].items():
        assert torch.equal(value, two["modules"]["net"][key]), key


def test_the_loss_falls(store: Path) -> None:
    torch.manual_seed(0)
    source = SpeechSource(CharacterSettings(store=store), batch=4)
    task = CharacterTask(CharacterSettings(rate=3e-3), 100_000, source.statistics())
    batch = replace(source.batch(0, range(4)), step=300)
    found = [task.step(batch, {"net": task.net})["ctc"].item() for _ in range(25)]
    assert found[-1] < 0.5 * found[0]


def test_no_speech_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="speech_store"):
        SpeechSource(CharacterSettings(store=tmp_path))


def test_an_export_hears_as_its_run(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.characters import CharacterNet, mel
    from training import characters_export
    from training.characters_export import CharacterExportSettings, export

    loop = LoopSettings(tmp_path / "run", 1, batch=2, device="cpu", picture_every=0, validate_every=0, ema=0.0)
    characters.run(CharacterSettings(store=store), loop)
    said: Floats = (0.1 * np.random.default_rng(0).standard_normal(6400)).astype(np.float32)
    clip = (tmp_path / "a.opus", "grid_s1", "a b", "a:0-0.1;b:0.1-0.2")
    monkeypatch.setattr(speech, "real", lambda data: iter([clip]))
    monkeypatch.setattr(characters_export, "clip_samples", lambda path: said)
    for name in ("read_test", "grid_test"):
        speech_store.save(store / f"{name}.npz", [(said, "ab")])
    path = export(CharacterExportSettings(tmp_path / "run", tmp_path / "net.safetensors", store=store))
    net = CharacterNet(path)
    notes = json.loads(net.notes["provenance"])
    assert notes["steps"] == 1
    assert notes["cer_read_test"] >= 0
    assert np.abs(net.mix.scaled(characters_export._row(net, said)).mean(0)).max() < 0.05
    state = checkpoints.load(tmp_path / "run")
    assert state is not None
    taught = characters.CharacterNet().eval()
    taught.load_state_dict(state["averages"]["net"])
    with torch.no_grad():
        wanted = taught(torch.from_numpy(mel(said))[None])[0].numpy()
    np.testing.assert_allclose(net.logits(mel(said), net.begin()), wanted, atol=5e-3)
    with pytest.raises(UsageError, match="no checkpoint"):
        export(CharacterExportSettings(tmp_path / "none", tmp_path / "x"))
