"""What ``full`` learns from, its training and its export, on made-up people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.audio_features import FEATURES, LOW  # noqa: E402
from codec.errors import HeadwireError, UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from models.characters import CharacterNet  # noqa: E402
from models.full import Full  # noqa: E402
from models.full_config import FORMAT  # noqa: E402
from tests.test_hearing import _video, click  # noqa: E402
from tests.test_training_light import FRAMES, turning_head  # noqa: E402
from training import checkpoints, dataset, evaluation, full, full_triples  # noqa: E402
from training.full_data import FullSource  # noqa: E402
from training.full_export import FullExportSettings, export  # noqa: E402
from training.full_triples import FullTripleSettings, open_triples  # noqa: E402
from training.loop import LoopSettings  # noqa: E402
from training.sound import Listener  # noqa: E402

TINY = full.FullSettings(fine=16, coarse=16, blocks=1, middle=1, crop=64, warm_up=2, perceptual=False)
CLICK = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triples of one person to learn from, with a memory and a click in frame 6, and of one to judge by."""
    root = tmp_path_factory.mktemp("full")
    patch = pytest.MonkeyPatch()
    patch.setenv("HEADWIRE_CACHE", str(root / "cache"))
    (root / "cache" / "landmarks").mkdir(parents=True)
    for seed, split in ((1, "train"), (2, "validation")):
        pictures, points = turning_head(seed)
        path = _video(root / f"person{seed}.mkv", click(FRAMES / 25, (CLICK + 0.4) / 25), pictures)
        np.savez(root / "cache" / "landmarks" / f"{path.stem}.npz", landmarks=points)
        clip = dataset.Clip(path, f"person{seed}", FRAMES / 25, True, "train", "made up")
        settings = FullTripleSettings(split=split, every=2, photos_kbps=200.0, ahead=0)
        for number in range(2 if split == "train" else 1):
            assert not full_triples.make(clip, root / split / f"{path.stem}.{number}", number, settings)
            assert not full_triples.make(clip, root / split / f"{path.stem}.{number}", number, settings)
    patch.undo()
    return root


def _loop(run: Path, steps: int, **changes: Any) -> LoopSettings:
    said: dict[str, Any] = {"batch": 2, "log_every": 1, "picture_every": 1, "validate_every": 0, "checkpoint_every": 1}
    return LoopSettings(run, steps, **{**said, "device": "cpu", **changes})


def test_triples_hold_the_further_photos_and_the_sound(folder: Path) -> None:
    still, memory = open_triples(folder)
    assert (still.others, still.ahead) == (2, 0)
    for t in (still, memory):
        n = len(t.frames["number"])
        assert t.other.shape == (n, 2, 256, 256, 3)
        assert t.audio.shape == (n, FEATURES)
        heard = Listener(0).arrays(folder / "person1.mkv", FRAMES)["audio"]
        assert np.array_equal(t.audio, heard[t.frames["number"]])
    assert still.frames["number"][still.audio[:, 1:LOW:21].max(1).argmax()] == CLICK
    # With one photo there is nothing but the picture itself.
    assert all(np.array_equal(still.other[i, k], still.shown[i]) for i in range(len(still.shown)) for k in range(2))
    assert set(still.frames["kind"]) <= {0, 1}
    assert set(memory.frames["kind"]) == {2}


def test_a_clip_without_sound_is_silent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.videos import write_video

    pictures, points = turning_head(3)
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "landmarks").mkdir(parents=True)
    path = write_video(tmp_path / "mute.mp4", pictures)
    np.savez(tmp_path / "cache" / "landmarks" / "mute.npz", landmarks=points)
    clip = dataset.Clip(path, "mute", FRAMES / 25, False, "train", "made up")
    assert not full_triples.make(clip, tmp_path / "train" / "mute.0", 0, FullTripleSettings(every=5))
    (t,) = open_triples(tmp_path)
    assert np.array_equal(t.audio[0], CharacterNet().mix.silence())
    assert "read" in full_triples.make(
        dataset.Clip(tmp_path / "none.mp4", "x", 1.0, False, "train", ""), tmp_path / "x", 0, FullTripleSettings()
    )


def test_triples_of_light_or_of_other_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="full_triples"):
        open_triples(tmp_path)
    for name in ("a.0", "b.0"):
        (tmp_path / "train" / name).mkdir(parents=True)
    about = json.loads((folder / "train" / "person1.0" / "about.json").read_text())
    first, second = (tmp_path / "train" / name / "about.json" for name in ("a.0", "b.0"))
    first.write_text(json.dumps(about))
    second.write_text(json.dumps({**about, "ahead": 4}))
    with pytest.raises(UsageError, match="different settings"):
        open_triples(tmp_path)
    del about["others"]
    second.write_text(json.dumps(about))
    with pytest.raises(UsageError, match="made for light"):
        open_triples(tmp_path)


def test_a_sample_depends_on_seed_step_and_slot_alone(folder: Path) -> None:
    source = FullSource(open_triples(folder), seed=4, crop=64)
    one, two = source.batch(3, [0, 1]), FullSource(open_triples(folder), seed=4, crop=64).batch(3, [1])
    for name in ("shown", "truth", "others", "geometry", "audio"):
        assert torch.equal(getattr(one, name)[1], getattr(two, name)[0]), name
    assert one.others.shape == (2, 2, 3, 64, 64)
    alone = FullSource(open_triples(folder), seed=4, crop=64, alone=1.0).batch(3, [0, 1])
    assert torch.equal(alone.others[:, 0], alone.shown)
    moved = one.to(torch.device("meta"))
    assert {getattr(moved, name).device.type for name in ("shown", "others", "geometry", "audio")} == {"meta"}


def test_the_loss_falls(folder: Path) -> None:
    triples = open_triples(folder)
    task = full.FullTask(TINY, TINY.config(triples), 1000, torch.device("cpu"))
    batch = FullSource(triples, crop=64).batch(40, range(2))
    found = [task.step(batch, {"full": task.net})["l1"].item() for _ in range(12)]
    assert found[-1] < found[0]


def test_training_is_exact_and_what_it_learned_paints(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.test_training_headgan_small import Nearness

    monkeypatch.setattr(evaluation, "lpips_nets", lambda: {"alex": Nearness()})
    settings = full.FullSettings(**{**vars(TINY), "triples": folder})
    figures = full.run(settings, _loop(tmp_path / "whole", 3))
    assert {"still/warp/lpips_alex", "still/full/lpips_alex"} <= set(figures)
    task = full.FullTask(settings, settings.config(open_triples(folder)), 3, torch.device("cpu"))
    assert task.rate(0) < task.rate(1) == settings.rate
    cut = full.run(settings, _loop(tmp_path / "cut", 3, checkpoint_every=2))
    assert cut["step"] == 3
    (tmp_path / "cut" / checkpoints.PREVIOUS).replace(tmp_path / "cut" / checkpoints.LATEST)
    full.run(settings, _loop(tmp_path / "cut", 3, workers=0))
    states = [checkpoints.load(tmp_path / name) for name in ("whole", "cut")]
    assert states[0] is not None
    assert states[1] is not None
    for key, value in states[0]["modules"]["full"].items():
        assert torch.equal(value, states[1]["modules"]["full"][key]), key
    target = export(FullExportSettings(tmp_path / "whole", tmp_path / "full.safetensors"))
    generator = Full(FaceModel.load(), target, device="cpu")
    assert (generator.ahead, generator.config.others) == (0, 2)
    from safetensors import safe_open

    with safe_open(str(target), framework="pt") as file:
        assert file.metadata()["format"] == FORMAT
        assert "not for commercial use" in file.metadata()["provenance"]


def test_runs_that_are_not_fulls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint"):
        export(FullExportSettings(tmp_path, tmp_path / "x"))
    checkpoints.save(tmp_path, {"step": 1, "description": {"network": "light"}})
    with pytest.raises(HeadwireError, match="not of full"):
        export(FullExportSettings(tmp_path, tmp_path / "x"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_a_device_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no CUDA device"):
        full.main(["--device", "cuda", "--triples", str(folder), "--run", str(tmp_path)])


def test_one_command_makes_what_it_learns_from_and_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.registry import run_training

    done: list[Any] = []

    def made(settings: FullTripleSettings) -> dict[str, str]:
        done.append(settings.split)
        return {"clip": "no face"}

    monkeypatch.setattr(full_triples, "run", made)
    monkeypatch.setattr(full, "main", done.append)
    run_training("full", None)
    assert done == ["validation", "train", []]
    assert "skipped clip: no face" in capsys.readouterr().out
