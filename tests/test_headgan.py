"""HeadGAN's networks against the paper's tables, its interface, and its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters, ReferenceFrame
from codec.raster import rasterise
from models import headgan
from models.generator import DrivingFrame
from models.headgan import AUDIO, HeadGAN, HeadGANConfig, gmac, layers, parameters

torch = pytest.importorskip("torch")

from models.headgan_blocks import Spade, normalised, shrunk, warped  # noqa: E402
from models.headgan_networks import HeadGANNet  # noqa: E402
from training.export import export_net  # noqa: E402

GOLDEN = json.loads((Path(__file__).parent / "golden" / "headgan.json").read_text())
PAPER = HeadGANConfig(audio=AUDIO)
SMALL = HeadGANConfig(width=0.05)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_arithmetic_is_the_papers(name: str) -> None:
    wanted = GOLDEN[name]
    config = HeadGANConfig(**wanted["config"])
    assert parameters(config) / 1e6 == pytest.approx(wanted["million_parameters"], abs=0.05)
    assert gmac(config) == pytest.approx(wanted["gmac"], abs=0.5 if name == "paper" else 0.05)
    assert gmac(config, reference=True) == pytest.approx(wanted["reference_gmac"], abs=0.005)


@pytest.mark.parametrize("config", [PAPER, HeadGANConfig(), HeadGANConfig(flow=False), HeadGANConfig(width=0.2)])
def test_modules_hold_what_the_tables_count(config: HeadGANConfig) -> None:
    with torch.device("meta"):
        net = HeadGANNet(config)
    assert sum(p.numel() for p in net.parameters()) == parameters(config)


@pytest.mark.parametrize("config", [HeadGANConfig(width=0.1, audio=AUDIO), HeadGANConfig(width=0.1)])
def test_modules_compute_what_the_tables_count(config: HeadGANConfig) -> None:
    counted: list[int] = []

    def count(module: Any, inputs: Any, output: Any) -> None:
        places = output.shape[-1] * output.shape[-2] if output.dim() == 4 else 1
        counted.append(module.weight.numel() * places)

    net = HeadGANNet(config)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    audio = torch.zeros(1, AUDIO) if config.audio else None
    with torch.inference_mode():
        encoded = net.encode(torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE))
        assert sum(counted) == sum(x.macs for x in layers(config) if x.name.startswith("reference"))
        counted.clear()
        net.paint(encoded, torch.zeros(1, 9, SIZE, SIZE), audio)
    assert sorted(counted) == sorted(x.macs for x in layers(config) if not x.name.startswith("reference"))


def test_channels_of_the_paper() -> None:
    names = [x.name for x in layers(PAPER)]
    assert names[:3] == ["reference.F.7x7-32", "reference.F.3x3-128", "reference.F.3x3-512"]
    assert sum(name.startswith("F.spade") for name in names) == 4 * 2 * 3
    assert sum(name.startswith("R.adain") for name in names) == 3 * 2 * 2
    assert PAPER.hidden == 128


def test_warping_by_nothing_changes_nothing() -> None:
    x = torch.rand(1, 3, 32, 32)
    assert torch.allclose(warped(x, torch.zeros(1, 2, 128, 128)), x, atol=1e-5)


def test_warping_moves_by_pixels() -> None:
    x = torch.rand(1, 1, 64, 64)
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0] = 3 * 2 / 64
    flow[:, 1] = -2 * 2 / 64
    moved = warped(x, flow)
    assert torch.allclose(moved[:, :, 2:, :-3], x[:, :, :-2, 3:], atol=1e-4)


def test_warping_keeps_coordinates_in_float32() -> None:
    x = torch.arange(256.0).view(1, 1, 1, 256).expand(1, 1, 256, 256) / 256
    moved = warped(x.bfloat16(), torch.zeros(1, 2, 256, 256, dtype=torch.bfloat16))
    assert torch.equal(moved, x.bfloat16())


def test_shrinking_keeps_centres() -> None:
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    assert torch.equal(shrunk(ramp, 4)[0, 0, 0], torch.tensor([1.5, 5.5, 9.5, 13.5]))


def test_spade_modulates_what_it_normalised() -> None:
    spade = Spade(2, 1, 4)
    torch.nn.init.zeros_(spade.modulation.weight)
    spade.modulation.bias = torch.nn.Parameter(torch.tensor([1.0, 0.0, 0.0, -3.0]))
    x = torch.rand(1, 2, 8, 8)
    out = spade(x, torch.rand(1, 1, 8, 8))
    assert torch.allclose(out[:, 0], 2 * normalised(x)[:, 0])
    assert torch.allclose(out[:, 1], normalised(x)[:, 1] - 3)


def test_a_network_with_audio_hears() -> None:
    torch.manual_seed(0)
    net = HeadGANNet(HeadGANConfig(width=0.05, audio=AUDIO))
    picture, code, window = torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 9, SIZE, SIZE)
    with torch.inference_mode():
        silent, loud = (net(picture, code, window, h)[0] for h in (torch.zeros(1, AUDIO), torch.ones(1, AUDIO)))
    assert not torch.allclose(silent, loud)
    with pytest.raises(ValueError, match="audio"):
        net(picture, code, window)


def test_without_flow_nothing_moves() -> None:
    net = HeadGANNet(HeadGANConfig(width=0.05, flow=False))
    picture = torch.rand(1, 3, SIZE, SIZE)
    _, moved, flow = net(picture, picture, torch.rand(1, 9, SIZE, SIZE))
    assert torch.equal(moved, picture)
    assert not flow.any()


def _weights(folder: Path, config: HeadGANConfig = SMALL, kind: str = "fp32") -> Path:
    torch.manual_seed(1)
    return export_net(HeadGANNet(config), folder / f"{kind}.safetensors", kind, {"data": "none"})


def _frame(t: int) -> DrivingFrame:
    model = FaceModel.load()
    fit = FrameParameters(
        np.full(EXPRESSION, 0.1 * t, np.float32),
        Camera(75.0, np.array((0, 0.1 * t, 0), np.float32), np.array((128, 130, 0), np.float32)),
    )
    shape = model.shape(np.zeros(model.identities, np.float32), fit.expression)
    vertices = model.project(shape, fit.camera)
    return DrivingFrame(fit, vertices, rasterise(vertices, model.triangles))


def _reference(number: int = 0, shade: int = 90) -> ReferenceFrame:
    model = FaceModel.load()
    picture = np.full((SIZE, SIZE, 3), shade, np.uint8)
    return ReferenceFrame(number, picture, _frame(0).parameters, np.zeros(model.identities, np.float32))


def test_generator_paints(tmp_path: Path) -> None:
    generator = HeadGAN(FaceModel.load(), _weights(tmp_path))
    with pytest.raises(RuntimeError):
        generator.generate(_frame(0))
    generator.prepare(_reference())
    picture = generator.generate(_frame(1))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


def test_first_frames_repeat_the_first_code(tmp_path: Path) -> None:
    generator = HeadGAN(FaceModel.load(), _weights(tmp_path))
    generator.prepare(_reference())
    first = generator.generate(_frame(1))
    again = generator.generate(_frame(1))
    assert np.array_equal(first, again)
    moved = generator.generate(_frame(4))
    settled = [generator.generate(_frame(4)) for _ in range(2)][-1]
    assert not np.array_equal(moved, settled)


def test_a_new_first_photo_begins_a_session(tmp_path: Path) -> None:
    generator = HeadGAN(FaceModel.load(), _weights(tmp_path))
    generator.prepare(_reference(shade=10))
    generator.generate(_frame(6))
    generator.prepare(_reference())
    fresh = HeadGAN(FaceModel.load(), tmp_path / "fp32.safetensors")
    fresh.prepare(_reference())
    assert np.array_equal(generator.generate(_frame(1)), fresh.generate(_frame(1)))


def test_encoder_runs_once_per_photo(tmp_path: Path) -> None:
    generator = HeadGAN(FaceModel.load(), _weights(tmp_path))
    calls: list[int] = []
    generator.net.f.encoder.register_forward_hook(lambda *_: calls.append(1))
    generator.prepare(_reference())
    for t in range(3):
        generator.generate(_frame(t))
    assert len(calls) == 1


def test_int8_stays_near(tmp_path: Path) -> None:
    config = HeadGANConfig(width=0.1)
    exact, small = (HeadGAN(FaceModel.load(), _weights(tmp_path, config, kind)) for kind in ("fp32", "int8"))
    for generator in (exact, small):
        generator.prepare(_reference())
    difference = exact.generate(_frame(1)).astype(int) - small.generate(_frame(1)).astype(int)
    assert np.abs(difference).mean() < 3
    sizes = [(tmp_path / f"{kind}.safetensors").stat().st_size for kind in ("fp32", "int8")]
    assert sizes[1] < 0.4 * sizes[0]


def test_openvino_paints_the_same(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from models.headgan_openvino import HeadGANOpenVino
    from training.export import export_openvino

    weights = _weights(tmp_path)
    folder = export_openvino(weights, tmp_path / "ov", compress=False)
    exact, other = HeadGAN(FaceModel.load(), weights), HeadGANOpenVino(FaceModel.load(), folder)
    for generator in (exact, other):
        generator.prepare(_reference())
    for t in range(2):
        difference = exact.generate(_frame(t)).astype(int) - other.generate(_frame(t)).astype(int)
        assert np.abs(difference).max() <= 2


def test_no_weights_says_how_to_make_them() -> None:
    with pytest.raises(UsageError, match="headwire train headgan"):
        HeadGAN(FaceModel.load(), None)


def test_truncated_weights(tmp_path: Path) -> None:
    path = _weights(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HeadwireError, match="safetensors"):
        headgan.load(path)


def test_weights_of_another_kind(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, str(path), {"format": "headwire-light-1"})
    with pytest.raises(HeadwireError, match="headwire-light-1"):
        headgan.load(path)


@pytest.mark.parametrize(
    "config",
    ['{"width": 0.1, "audio": 0, "flow": true}', '{"width": 1e9, "audio": 0, "flow": true}', "{}", "no json"],
)
def test_weights_that_belie_their_description(tmp_path: Path, config: str) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(str(_weights(tmp_path)))
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, str(path), {"format": headgan.FORMAT, "config": config})
    with pytest.raises(HeadwireError):
        headgan.load(path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fused", [False, True])
def test_a_graph_paints_as_the_plain_network(tmp_path: Path, fused: bool) -> None:
    from models.headgan_runtime import Painter

    if fused:
        pytest.importorskip("triton")
    path = _weights(tmp_path, HeadGANConfig(width=0.1, audio=AUDIO))
    rng = np.random.default_rng(0)
    plain = Painter(headgan.load(path))
    for half, most in ((False, 2), (True, 8)):
        graph = Painter(headgan.load(path), "cuda", half, fused)
        for _ in range(2):
            picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            code = rng.random((SIZE, SIZE, 3), dtype=np.float32)
            references = [painter.encode(picture, code) for painter in (plain, graph)]
            for _ in range(2):
                window = rng.random((SIZE, SIZE, 9), dtype=np.float32)
                heard = rng.standard_normal(AUDIO).astype(np.float32)
                a, b = (p.paint(r, window, heard).astype(int) for p, r in zip((plain, graph), references, strict=True))
                assert np.abs(a - b).mean() < most / 4
                assert half or np.abs(a - b).max() <= most


def test_audio_changes_what_is_painted_and_silence_comes_first(tmp_path: Path) -> None:
    from models.characters import CharacterNet

    generator = HeadGAN(FaceModel.load(), _weights(tmp_path, HeadGANConfig(width=0.05, audio=AUDIO)), "cpu")
    assert np.array_equal(generator.audio, CharacterNet().mix.silence())
    generator.prepare(_reference())
    quiet = generator.generate(_frame(1))
    generator.listen(3 * np.ones(AUDIO, np.float32))
    assert not np.array_equal(generator.generate(_frame(1)), quiet)
