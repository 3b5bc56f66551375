"""The ablation that needs no training: whose identity the mesh of a reenactment has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from codec.errors import HeadwireError
from codec.parameters import SIZE
from tests.training_helpers import made_up_clip
from training import reenactment
from training.pairs_store import open_store
from training.reenactment import ReenactmentSettings, driving_frames, measure


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    for name, seed in (("a", 1), ("b", 2)):
        made_up_clip(folder, name, seed, frames=6, split="validation")
    return folder


class Painted:
    """Keeps the mesh that it was asked to paint, where a picture's landmarks would be found."""

    def prepare(self, reference: Any) -> None:
        return None

    def generate(self, frame: Any) -> Any:
        return frame.vertices


def test_a_mesh_is_of_the_identity_that_was_asked_for(store: Path) -> None:
    source, driver = open_store(store, "validation")[:2]
    own = next(iter(driving_frames(source, driver, "source", 1)))
    other = next(iter(driving_frames(source, driver, "driver", 1)))
    assert np.allclose(other.vertices, driver.vertices[0], atol=0.3)
    assert np.abs(own.vertices - other.vertices).max() > 1


def test_the_drivers_identity_takes_the_sources_away(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.zoo.create", lambda *_: Painted())
    said = measure(ReenactmentSettings("warp", store=store, frames=4), np.stack)  # type: ignore[arg-type]
    assert set(said) == {"source", "driver"}
    assert said["source"]["pairs"] == said["driver"]["pairs"] == 2
    assert said["source"]["to_source"] < 0.5 * said["source"]["to_driver"]
    assert said["driver"]["to_driver"] < 0.5 * said["driver"]["to_source"]
    assert said["source"]["share"] < 0.2 < 0.8 < said["driver"]["share"]


def test_one_command_prints_both_rows(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from models.headgan import HeadGANConfig
    from models.headgan_networks import HeadGANNet
    from training.export import export_net
    from training.registry import run_training

    torch.manual_seed(0)
    weights = export_net(HeadGANNet(HeadGANConfig(0.03)), tmp_path / "tiny.safetensors", "fp16", {})
    arguments = ["--store", str(store), "--weights", str(weights), "--frames", "2"]
    with pytest.raises(SystemExit, match="no face was found"):
        reenactment.main(arguments)
    points = open_store(store, "validation")[0].fit["landmarks"]
    shapes: list[Any] = []

    def found(pictures: Any) -> Any:
        shapes.extend(picture.shape for picture in pictures)
        return points[: len(pictures)]

    monkeypatch.setattr(reenactment, "face_mesh", found)
    reenactment.main(arguments)
    assert set(json.loads(capsys.readouterr().out)) == {"source", "driver"}
    assert set(shapes) == {(SIZE, SIZE, 3)}
    with pytest.raises(SystemExit, match="leave one of them out"):
        reenactment.main([*arguments, "--model", "warp"])
    monkeypatch.setattr(reenactment, "main", lambda arguments: print("reenactment", arguments))
    run_training("reenactment", None)
    assert capsys.readouterr().out == "reenactment []\n"


def test_two_people_are_needed(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_clip(tmp_path, "a", 1, frames=4, split="validation")
    monkeypatch.setattr("models.zoo.create", lambda *_: Painted())
    with pytest.raises(HeadwireError, match="two people"):
        measure(ReenactmentSettings("warp", store=tmp_path), np.stack)  # type: ignore[arg-type]
