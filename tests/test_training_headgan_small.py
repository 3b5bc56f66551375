"""The one command that trains, judges and ships headgan-small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors import safe_open

from codec.face_model import FaceModel
from models import headgan
from models.headgan import HeadGANConfig, HeadGANSmall
from tests.training_helpers import made_up_clip
from training import evaluation, headgan_small


class Nearness:
    """Stands for LPIPS, whose weights may not be here: mean absolute difference."""

    def __call__(self, truth: Any, shown: Any) -> Any:
        return np.atleast_1d(np.abs(truth.astype(float) - shown).mean((-3, -2, -1))) / 255


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made_up_clip(folder, "a", 1, frames=4)
    made_up_clip(folder, "b", 2, frames=4, split="validation")
    return folder


def _small(store: Path, folder: Path, steps: int) -> list[str]:
    said: dict[str, Any] = {
        "run": folder / "run",
        "store": store,
        "target": folder / "weights" / "headgan-small.safetensors",
    }
    said |= {"steps": steps, "width": 0.03, "features": "none", "batch": 1, "device": "cpu", "validation-step": 2}
    return [word for name, value in said.items() for word in (f"--{name}", str(value))]


def test_defaults_are_a_quarters_width_that_a_cpu_trains() -> None:
    from models.zoo import OWN
    from training.headgan import HeadGANSettings
    from training.options import parsed

    (settings,) = parsed("", (HeadGANSettings,), [], **headgan_small.DEFAULTS)
    assert (settings.width, settings.adversarial, settings.audio, settings.features) == (0.25, False, False, "alex")
    assert OWN["headgan-small"].parameters == headgan.parameters(HeadGANConfig(0.25))
    assert OWN["headgan-small"].gmac == pytest.approx(headgan.gmac(HeadGANConfig(0.25)), abs=0.01)


def test_it_is_shipped_only_if_it_beats_the_photo(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "lpips_nets", lambda: {"alex": Nearness()})
    target = tmp_path / "weights" / "headgan-small.safetensors"
    headgan_small.main(_small(store, tmp_path, 1))
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert figures["frozen"]["lpips_alex"] < figures["headgan-small"]["lpips_alex"]
    assert figures["shipped"] is None
    assert not target.exists()
    assert "more --steps go on" in said.err

    # A photo that is worse than anything stands for a network that has learned.
    worse = type("Worse", (evaluation.Frozen,), {"generate": lambda self, frame: 255 - self._picture // 255 * 255})
    monkeypatch.setattr(headgan_small, "Frozen", worse)
    headgan_small.main(_small(store, tmp_path, 2))
    figures = json.loads(capsys.readouterr().out)
    assert figures["trained"]["step"] == 2
    assert figures["shipped"] == str(target)
    assert HeadGANSmall(FaceModel.load(), target).name == "headgan-small"
    with safe_open(str(target), framework="pt") as file:
        notes = json.loads(file.metadata()["provenance"])
    assert notes["steps"] == 2
    assert set(notes["beats the frozen photo"]) == {"frozen", "headgan-small"}


def test_without_judges_nothing_begins(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "lpips_nets", dict)
    with pytest.raises(SystemExit, match="LPIPS"):
        headgan_small.main(_small(store, tmp_path, 1))
    with pytest.raises(SystemExit, match="no prepared clips"):
        headgan_small.main(_small(tmp_path, tmp_path, 1))
    assert not (tmp_path / "run").exists()
