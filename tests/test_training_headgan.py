"""HeadGAN's own training: its losses' weights, its options, what it exports, and the ablations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from tests.test_training_loop import ALONE, TINY, _loop, _state  # noqa: E402
from tests.training_helpers import made_up_clip  # noqa: E402
from training import checkpoints  # noqa: E402
from training.headgan import HeadGANSettings, HeadGANTask, run  # noqa: E402
from training.loop import LoopSettings  # noqa: E402


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made_up_clip(folder, "a", 1, frames=4)
    return folder


class _Pixels(torch.nn.Module):  # type: ignore[name-defined]
    """In VGG's place: five times the picture."""

    name = "pixels"

    def forward(self, x: Any) -> Any:
        return [x] * 5


def test_the_generators_loss_is_equation_3() -> None:
    """Worked out by hand: the picture is off by 0.1, the warped one by 0.2; D and D_m say 0.5 and -1, their features are off by 2."""
    from models.discriminators import Judged
    from training.features import WEIGHTS

    task = HeadGANTask(TINY, ALONE, [])
    task.vgg = _Pixels()  # type: ignore[assignment]
    truth = torch.rand(1, 3, 64, 64) * 0.5
    said: dict[str, Any] = {}
    total = task._pictures_terms(truth, truth + 0.1, truth - 0.2, said)
    assert total.item() == pytest.approx(50 * (0.1 + 0.2) + 10 * sum(WEIGHTS) * (0.1 + 0.2), rel=1e-4)

    def says(value: float) -> list[Judged]:
        patches, features = (torch.tensor(x).view(2, 1, 1, 1) for x in ((9.0, value), (1.0, 3.0)))
        return [Judged(patches, (features,))]

    class Says(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, whole: Any, mouth: Any) -> Any:
            return says(0.5), says(-1.0)

    task.judges = Says()  # type: ignore[assignment]
    task._inputs = lambda batch, painted: (painted, painted)  # type: ignore[method-assign, assignment]
    batch: Any = None
    assert task._judged_terms(batch, truth, said).item() == pytest.approx(-(0.5 - 1.0) + 10 * (2.0 + 2.0))
    assert said["adversarial"].item() == pytest.approx(0.5)


def test_the_optimiser_is_the_papers() -> None:
    settings = HeadGANSettings()
    assert (settings.width, settings.rate, settings.betas, settings.features) == (1.0, 2e-4, (0.5, 0.999), "vgg")
    for optimizer in HeadGANTask(TINY, ALONE, []).optimizers.values():
        assert isinstance(optimizer, torch.optim.Adam)
        assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (2e-4, (0.5, 0.999))


def test_one_command_trains_the_table(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training import ablations, evaluation

    monkeypatch.setattr(evaluation, "lpips_nets", dict)
    made_up_clip(store, "judge", 7, frames=4, split="validation")
    arguments = ["--run", str(tmp_path), "--steps", "1", "--batch", "1", "--width", "0.03", "--features", "none"]
    ablations.main([*arguments, "--store", str(store), "--validation-step", "4"])
    table = json.loads((tmp_path / "table3.json").read_text())
    assert list(table) == ["HeadGAN", "w/o F's decoder", "w/o 3DMM (landmark sketches)"]
    assert all(row["psnr"] > 0 for row in table.values())
    assert table["HeadGAN"] != table["w/o 3DMM (landmark sketches)"]
    assert "w/o F's decoder" in capsys.readouterr().out
    last = ablations.rows(replace(TINY, audio=True))[-1]
    assert (last.name, last.settings.audio, last.settings.sounding) == ("w/o audio", False, True)


def test_audio_reaches_the_network_and_the_mouth(tmp_path: Path) -> None:
    made_up_clip(tmp_path / "store", "a", 1, frames=4, audio=True)
    settings = replace(TINY, audio=True, store=tmp_path / "store")
    figures = run(settings, _loop(tmp_path / "run", 1, device="cpu", batch=1))
    assert figures["step"] == 1
    weight = _state(tmp_path / "run")["modules"]["judges"]["mouth.scales.0.stages.0.parametrizations.weight.original"]
    assert weight.shape[1] == 303


def test_a_run_is_exported_with_its_provenance(store: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    from models.headgan import load
    from training.export import export

    run(replace(TINY, store=store), _loop(tmp_path, 1, device="cpu"))
    path = export(tmp_path, tmp_path / "small.safetensors", "fp16", {"data": "made up"})
    with safe_open(str(path), framework="pt") as file:
        notes = json.loads(file.metadata()["provenance"])
    assert notes["steps"] == 1
    assert notes["data"] == "made up"
    assert "not for commercial use" in notes["licence"]
    net = load(path)
    for key, value in _state(tmp_path)["averages"]["generator"].items():
        assert torch.allclose(net.state_dict()[key], value, atol=1e-3)
    with pytest.raises(UsageError, match="no checkpoint"):
        export(tmp_path / "nowhere", path)
    with pytest.raises(UsageError, match="int4"):
        export(tmp_path, path, "int4")
    state = _state(tmp_path)
    state["description"]["sketches"] = True
    checkpoints.save(tmp_path, state)
    with pytest.raises(UsageError, match="sketches"):
        export(tmp_path, path)


def test_options_are_the_settings_own() -> None:
    from training.options import parsed

    arguments = ["--run", "x", "--steps", "3", "--width", "0.25", "--audio", "--no-flow", "--vgg19", "v.pth"]
    settings, loop = parsed("", (HeadGANSettings, LoopSettings), arguments)
    assert settings == HeadGANSettings(width=0.25, audio=True, flow=False, vgg19=Path("v.pth"))
    assert loop == LoopSettings(Path("x"), 3)


def test_a_network_remembers_how_far_its_features_look_ahead(tmp_path: Path) -> None:
    from models.headgan import load
    from training.export import export

    made_up_clip(tmp_path / "store", "a", 1, frames=4, audio=True)
    about = tmp_path / "store" / "train" / "a" / "about.json"
    said = json.loads(about.read_text())
    settings = replace(TINY, audio=True, adversarial=False, store=tmp_path / "store")
    for listener, ahead in (("", 4), ("0123456789abcdef-0", 0)):
        about.write_text(json.dumps({**said, "audio": listener}))
        run(settings, _loop(tmp_path / f"run{ahead}", 1, device="cpu", batch=1))
        net = load(export(tmp_path / f"run{ahead}", tmp_path / f"{ahead}.safetensors", "fp16"))
        assert net.config.ahead == ahead
    with pytest.raises(UsageError, match="--ahead 4"):
        run(replace(settings, ahead=4), _loop(tmp_path / "run", 1, device="cpu", batch=1))
    made_up_clip(tmp_path / "store", "b", 2, frames=4, audio=True)
    with pytest.raises(UsageError, match="different networks"):
        run(settings, _loop(tmp_path / "run", 1, device="cpu", batch=1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_bits_for_openvino_are_calibrated_on_pairs(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    from models.headgan import HeadGAN
    from models.headgan_openvino import HeadGANOpenVino
    from tests.test_headgan import _frame, _reference
    from training import export

    run(replace(TINY, width=0.1, adversarial=False, store=store), _loop(tmp_path / "run", 1, device="cpu"))
    weights, folder = tmp_path / "tiny.safetensors", tmp_path / "ov"
    said = {"run": tmp_path / "run", "target": weights, "openvino": folder, "store": store}
    export.main([word for name, value in said.items() for word in (f"--{name}", str(value))] + ["--openvino-int8"])
    assert b"FakeQuantize" in (folder / "paint.xml").read_bytes()
    exact, small = HeadGAN(FaceModel.load(), weights, "cpu"), HeadGANOpenVino(FaceModel.load(), folder)
    for generator in (exact, small):
        generator.prepare(_reference())
    difference = exact.generate(_frame(1)).astype(int) - small.generate(_frame(1)).astype(int)
    assert 0 < np.abs(difference).mean() < 6
