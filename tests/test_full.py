"""``full`` at run time: its file, its two engines, the further photos, the sound, and the device that it runs on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.audio_features import FEATURES  # noqa: E402
from codec.errors import HeadwireError, UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters, ReferenceFrame  # noqa: E402
from codec.raster import rasterise  # noqa: E402
from models import weights_file  # noqa: E402
from models.full import Full, OpenVinoPainter, TorchPainter, chosen_device, other_pictures  # noqa: E402
from models.full_config import FORMAT, FullConfig  # noqa: E402
from models.full_graph import gmac  # noqa: E402
from models.full_network import FullNet, Said, in_cells, painted  # noqa: E402
from models.generator import DrivingFrame  # noqa: E402
from models.light_inputs import in_cells as numpy_cells  # noqa: E402
from models.warp import Warp  # noqa: E402
from training.full_export import export_net  # noqa: E402

MODEL = FaceModel.load()
TINY = FullConfig(16, 16, 1, 1, others=2, ahead=1)


def _net(config: FullConfig, heads: float = 0.02) -> FullNet:
    torch.manual_seed(0)
    net = FullNet(config).eval()
    for name, parameter in net.named_parameters():
        if name.split(".")[0] in ("colour", "flow", "share", "hear"):
            torch.nn.init.normal_(parameter, std=heads)
    return net


def _weights(folder: Path, config: FullConfig = TINY, heads: float = 0.02) -> Path:
    return export_net(_net(config, heads), folder / "full.safetensors", {"data": "none"}, "fp32")


def _frame(turn: float) -> DrivingFrame:
    camera = Camera(75.0, np.array((0, turn, 0), np.float32), np.array((128, 130, 0), np.float32))
    fit = FrameParameters(np.zeros(EXPRESSION, np.float32), camera)
    vertices = MODEL.project(MODEL.mean, camera)
    return DrivingFrame(fit, vertices, rasterise(vertices, MODEL.triangles))


def _photo(number: int, turn: float, shade: int) -> ReferenceFrame:
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 60, (SIZE // 8, SIZE // 8, 3)).repeat(8, 0).repeat(8, 1)
    picture = (noise + shade).astype(np.uint8)
    return ReferenceFrame(number, picture, _frame(turn).parameters, np.zeros(MODEL.identities, np.float32))


def _inputs(seed: int, others: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)

    def picture() -> Any:
        return rng.integers(0, 256, (SIZE // 32, SIZE // 32, 3)).repeat(32, 0).repeat(32, 1).astype(np.uint8)

    more = np.stack([picture() for _ in range(others)]) if others else np.zeros((0, SIZE, SIZE, 3), np.uint8)
    geometry = rng.standard_normal((12, 64, 64)).astype(np.float32)
    return picture(), more, geometry, rng.standard_normal(FEATURES).astype(np.float32)


def test_the_zoos_figures_are_the_networks() -> None:
    from models.zoo import OWN

    with torch.device("meta"):
        net = FullNet(FullConfig())
    assert OWN["full"].parameters == sum(p.numel() for p in net.parameters())
    shapes: Any = dict(net.state_dict())
    assert OWN["full"].gmac == pytest.approx(
        gmac({k: np.broadcast_to(0.0, v.shape) for k, v in shapes.items()}), abs=0.01
    )
    assert 20 < OWN["full"].gmac < 60


@pytest.mark.parametrize("config", [TINY, replace(TINY, others=0, audio=0)])
def test_openvino_and_torch_paint_the_same(tmp_path: Path, config: FullConfig) -> None:
    tensors, _ = weights_file.read(_weights(tmp_path, config), FORMAT, "full")
    shown, others, geometry, audio = _inputs(1, config.others)
    a = OpenVinoPainter(tensors, config, "f32").paint(shown, others, geometry, audio)
    b = TorchPainter(tensors, config, "cpu").paint(shown, others, geometry, audio)
    assert np.abs(a.astype(int) - b).mean() < 0.5
    assert np.abs(a.astype(int) - shown).mean() > 2
    if config.others:
        changed = OpenVinoPainter(tensors, config, "f32").paint(shown, 255 - others, geometry, audio)
        assert not np.array_equal(changed, a)
        silent = OpenVinoPainter(tensors, config, "f32").paint(shown, others, geometry, 0 * audio)
        assert not np.array_equal(silent, a)


def test_a_new_network_changes_nothing() -> None:
    net = FullNet(TINY)
    x, others = torch.rand(2, 3, 32, 32), torch.rand(2, 2, 3, 32, 32)
    out = painted(x, others, net(x, others, torch.rand(2, 12, 8, 8), torch.rand(2, FEATURES)))
    assert torch.allclose(out, x, atol=1e-5)
    with pytest.raises(ValueError, match="audio"):
        net(x, others, torch.rand(2, 12, 8, 8), None)


def test_shares_take_from_the_others_and_colours_are_added() -> None:
    x, others = torch.zeros(1, 3, 8, 8), torch.stack([torch.full((3, 8, 8), v) for v in (1.0, -1.0)])[None]
    shares = torch.zeros(1, 2, 8, 8)
    shares[0, 0, :4], shares[0, 1, 4:] = 0.75, 0.5
    colours = torch.zeros(1, 48, 2, 2)
    colours[0, 3 * 5 + 2, 0, 1] = 0.125  # row 1, column 1 of its cell, blue
    out = painted(x, others, Said(colours, torch.zeros(1, 2, 2, 2), shares))
    assert torch.allclose(out[0, :2, :4], torch.tensor(0.75), atol=1e-6)
    assert torch.allclose(out[0, :, 4:], torch.tensor(-0.5), atol=1e-6)
    assert out[0, 2, 1, 5].item() == pytest.approx(0.875)
    assert out[0, 2, 1, 4].item() == pytest.approx(0.75)


def test_cells_are_those_of_numpy() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    cells = in_cells(torch.from_numpy(picture).permute(2, 0, 1)[None])
    assert np.array_equal(cells[0].numpy(), numpy_cells(picture))


def test_further_photos_are_the_nearest() -> None:
    warp = Warp(MODEL)
    for number, (turn, shade) in enumerate(((0.5, 30), (-0.4, 90), (0.1, 150))):
        warp.prepare(_photo(number, turn, shade))
    frame = _frame(0.0)
    own = warp.generate(frame)
    others = other_pictures(warp, frame, own, 3)
    # Painted from 2, the latest; 1 is nearer than 0, and there is no third.
    assert np.array_equal(others[0], warp.shown(frame, warp.photos[1]))
    assert np.array_equal(others[1], warp.shown(frame, warp.photos[0]))
    assert np.array_equal(others[2], own)
    assert other_pictures(warp, frame, own, 0).shape == (0, SIZE, SIZE, 3)


def test_the_generator_uses_photos_and_sound(tmp_path: Path) -> None:
    generator = Full(MODEL, _weights(tmp_path), "f32", device="cpu")
    assert generator.ahead == 1
    generator.prepare(_photo(0, 0.0, 90))
    alone = generator.generate(_frame(0.1))
    generator.prepare(_photo(1, 0.3, 150))
    generator.prepare(_photo(0, 0.0, 90))
    quiet = generator.generate(_frame(0.1))
    assert not np.array_equal(quiet, alone)
    generator.listen(3 * np.ones(FEATURES, np.float32))
    assert not np.array_equal(generator.generate(_frame(0.1)), quiet)
    generator.forget()
    generator.prepare(_photo(0, 0.0, 90))
    assert np.array_equal(generator.generate(_frame(0.1)), alone)


def test_without_audio_nothing_is_heard(tmp_path: Path) -> None:
    from receiver.hearing import hearing_for

    assert hearing_for(Full(MODEL, _weights(tmp_path, replace(TINY, audio=0)), "f32", device="cpu")) is None


def test_the_device_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="auto, cpu or cuda"):
        chosen_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == "cpu"
    with pytest.raises(UsageError, match="no CUDA device"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto") == "cuda"
    # A GPU that is not there: what would go to it is seen, and stays on the CPU.
    asked = []

    def painter(tensors: Any, config: FullConfig, device: str) -> TorchPainter:
        asked.append(device)
        return TorchPainter(tensors, config, "cpu")

    monkeypatch.setattr("models.full.TorchPainter", painter)
    generator = Full(MODEL, _weights(tmp_path))
    generator.prepare(_photo(0, 0.0, 90))
    plain = Full(MODEL, tmp_path / "full.safetensors", "f32", device="cpu")
    plain.prepare(_photo(0, 0.0, 90))
    assert asked == ["cuda"]
    apart = generator.generate(_frame(0.1)).astype(int) - plain.generate(_frame(0.1))
    assert np.abs(apart).mean() < 0.5


def test_files_that_are_not_fulls(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(UsageError, match="train full"):
        Full(MODEL, tmp_path / "none.safetensors")
    path = _weights(tmp_path)
    whole = path.read_bytes()
    for name, data in (("cut", whole[:-10]), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HeadwireError, match="full"):
            Full(MODEL, tmp_path / name)
    tensors = load_file(str(path))
    config: dict[str, Any] = {**vars(TINY)}
    bad = (
        "{}",
        "no",
        json.dumps(config | {"fine": 0}),
        json.dumps(config | {"audio": 7}),
        json.dumps(config | {"fine": 32}),
    )
    for said in bad:
        save_file(tensors, str(tmp_path / "wrong"), {"format": FORMAT, "config": said})
        with pytest.raises(HeadwireError):
            Full(MODEL, tmp_path / "wrong", device="cpu")
    for engine in (OpenVinoPainter, TorchPainter):
        some = {
            name: value for name, value in weights_file.read(path, FORMAT, "full")[0].items() if name != "stem.weight"
        }
        with pytest.raises((HeadwireError, UsageError), match="description"):
            engine(some, TINY, "f32" if engine is OpenVinoPainter else "cpu")
