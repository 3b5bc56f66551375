"""``headgan`` compiled ahead of time. The compiler takes minutes and has a slow test; the rest runs what would be compiled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import HeadwireError, UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from models import headgan_package  # noqa: E402
from models.headgan import AUDIO, HeadGAN, HeadGANConfig  # noqa: E402
from models.headgan_networks import HeadGANNet  # noqa: E402
from models.headgan_package import HeadGANPackage  # noqa: E402
from tests.test_headgan import _frame, _reference  # noqa: E402
from training import export_package  # noqa: E402
from training.export import export_net  # noqa: E402

TINY = HeadGANConfig(width=0.03, audio=AUDIO, ahead=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    return export_net(HeadGANNet(TINY), tmp_path_factory.mktemp("net") / "tiny.safetensors", "fp32", {})


def _paints_alike(weights: Path, folder: Path, most: int) -> None:
    exact, other = HeadGAN(FaceModel.load(), weights, "cpu"), HeadGANPackage(FaceModel.load(), folder)
    assert other.ahead == 0
    for generator in (exact, other):
        generator.prepare(_reference())
        generator.listen(np.linspace(-2, 2, AUDIO, dtype=np.float32))
    for t in range(2):
        difference = exact.generate(_frame(t)).astype(int) - other.generate(_frame(t)).astype(int)
        assert np.abs(difference).max() <= most


def test_what_is_compiled_paints_as_the_network(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def saved(exported: Any, path: Path) -> None:
        torch.export.save(exported, str(path))

    monkeypatch.setattr(export_package, "_compile", saved)
    monkeypatch.setattr(headgan_package, "_load", lambda path: torch.export.load(str(path)).module())
    monkeypatch.setattr(shutil, "which", lambda name: name)
    export_package.main(["--weights", str(weights), "--folder", str(tmp_path), "--device", "cpu", "--no-half"])
    _paints_alike(weights, tmp_path, 1)
    about = json.loads((tmp_path / "package.json").read_text())
    assert (about["device"], about["kind"], about["torch"]) == ("cpu", "float32", torch.__version__)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_code_paints_as_the_network(weights: Path, tmp_path: Path) -> None:
    export_package.main(["--weights", str(weights), "--folder", str(tmp_path), "--device", "cpu", "--no-half"])
    _paints_alike(weights, tmp_path, 2)


def test_what_cannot_be_compiled_is_said(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = HeadGANNet(TINY)
    with pytest.raises(UsageError, match="cpu or cuda"):
        export_package.export_packages(net, tmp_path, "tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        export_package.export_packages(net, tmp_path, "cuda")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="apt install g"):
        export_package.export_packages(net, tmp_path, "cpu")
    assert not list(tmp_path.iterdir())


def test_packages_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FaceModel.load()
    with pytest.raises(UsageError, match="no packages"):
        HeadGANPackage(model, tmp_path)
    about = {"config": {"width": 0.03}, "device": "cpu", "kind": "float32", "torch": "1"}
    for wrong in ("no json", "{}", json.dumps({**about, "kind": "load"}), json.dumps({**about, "device": "tpu"})):
        (tmp_path / "package.json").write_text(wrong)
        with pytest.raises(HeadwireError, match="compile them again"):
            HeadGANPackage(model, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps(about))
    (tmp_path / "encode.pt2").write_bytes(b"noise")
    with pytest.raises(HeadwireError, match="compile them again"):
        HeadGANPackage(model, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "package.json").write_text(json.dumps({**about, "device": "cuda"}))
    with pytest.raises(UsageError, match="CUDA"):
        HeadGANPackage(model, tmp_path)
