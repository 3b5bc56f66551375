"""Distances between sets, and the networks that only a user can give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import canonical
from bench.frechet import by_codec, frechet
from codec.errors import UsageError

RNG = np.random.default_rng(5)


def test_frechet_of_known_sets():
    x = RNG.normal(0, 1, (40, 6))
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + 2) == pytest.approx(6 * 4), "equal spread: the square of the distance"
    spread = float(np.trace(np.cov(x.T)))
    assert frechet(x, x.mean(0) + 3 * (x - x.mean(0))) == pytest.approx(spread * (3 - 1) ** 2)
    assert frechet(x[:1], x) is None


def test_frechet_as_by_its_formula():
    from scipy.linalg import sqrtm

    a, b = RNG.normal(0, 1, (50, 4)) @ RNG.normal(0, 1, (4, 4)), RNG.normal(1, 2, (30, 4))
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * np.real(sqrtm(ca @ cb)))
    assert frechet(a, b) == pytest.approx(float(expected))
    assert frechet(b, a) == pytest.approx(float(expected))


def test_sets_are_those_of_all_clips():
    x, y = RNG.normal(0, 1, (8, 3)), RNG.normal(0, 1, (8, 3))
    halves: list[dict[str, Any]] = [{"fid_vgg": (x[:4], y[:4])}, {"fid_vgg": (x[4:], y[4:])}]
    found = by_codec({("warp", "normal"): halves})
    assert found[("warp", "normal")]["fid_vgg"] == pytest.approx(frechet(x, y), rel=1e-4)


def test_weights_are_named_and_there(tmp_path: Path):
    file = tmp_path / "w.onnx"
    file.write_bytes(b"x")
    assert canonical.parse([f"csim={file}"]) == (("csim", file),)
    for wrong in ("csim", "csim=/nowhere/w.onnx", f"fid_vgg={file}"):
        with pytest.raises(UsageError, match="--weights"):
            canonical.parse([wrong])


def test_a_file_that_is_no_network_is_refused(tmp_path: Path):
    pytest.importorskip("torch")
    file = tmp_path / "w.pt"
    file.write_bytes(b"no network")
    points = RNG.uniform(60, 200, (478, 3)).astype(np.float32)
    frames = np.zeros((2, 256, 256, 3), np.uint8)
    with pytest.raises(UsageError, match="wants ArcFace as ONNX"):
        canonical.Canonical((("csim", file),)).face(frames[0], points)
    with pytest.raises(UsageError, match="wants TorchScript"):
        canonical.Canonical((("fid", file),)).features(frames, frames)


def test_features_come_from_the_users_network(tmp_path: Path):
    """A network of the right shape stands for Inception: mean and spread of each channel."""
    torch = pytest.importorskip("torch")

    class Tiny(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:  # type: ignore[name-defined]
            return torch.cat((x.float().mean((2, 3)), x.float().std((2, 3))), 1)

    torch.jit.script(Tiny()).save(str(tmp_path / "fid.pt"))
    frames = RNG.integers(0, 256, (3, 256, 256, 3), np.uint8)
    network = canonical.Canonical((("fid", tmp_path / "fid.pt"),))
    found = network.features(frames, frames)
    assert found["fid"].shape == (3, 6)
    assert found["fid"][:, :3] == pytest.approx(frames.mean((1, 2)), abs=0.01)
    assert network.names == ("fid",)


def detector(path: Path, outputs: int = 4) -> None:
    """A network of the right shape stands for a detector of action units: it says how red each quarter of the face is."""
    import openvino
    from openvino import opset13

    x = opset13.parameter((1, 3, 64, 64), np.float32)
    red = opset13.slice(x, [0, 0, 0, 0], [1, 1, 64, 64], [1, 1, 1, 1])
    side = {1: 64, 4: 32}[outputs]
    quarters = opset13.avg_pool(red, [side, side], [0, 0], [0, 0], [side, side], True)
    openvino.save_model(openvino.Model([quarters], [x]), str(path), compress_to_fp16=False)


def test_au_h_is_the_share_of_units_that_differ(tmp_path: Path):
    detector(tmp_path / "au.xml")
    points = np.zeros((478, 3), np.float32)
    places = {
        33: (88, 90),
        133: (104, 90),
        362: (152, 90),
        263: (168, 90),
        1: (128, 130),
        61: (108, 165),
        291: (148, 165),
    }
    for at, place in places.items():
        points[at, :2] = place
    network = canonical.Canonical((("au_h", tmp_path / "au.xml"),))
    grey, red = np.full((256, 256, 3), 90, np.uint8), np.full((256, 256, 3), 90, np.uint8)
    red[..., 0] = 250
    half = grey.copy()
    half[:, 128:, 0] = 250
    assert network.units(grey, points).tolist() == [False] * 4
    assert network.units(red, points).tolist() == [True] * 4
    assert network.units_apart(grey, red, points) == 1
    assert network.units_apart(red, red, points) == 0
    assert network.units_apart(grey, half, points) == 0.5


def test_au_h_is_measured_only_with_the_users_network(tmp_path: Path):
    pytest.importorskip("torch")
    from bench.quality_metrics import CANONICAL, METRICS, Meter
    from tests.test_bench_quality import clip

    plain = Meter()
    assert "--weights au_h=FILE" in plain.missing["au_h"]
    assert not set(CANONICAL) & set(METRICS)
    detector(tmp_path / "au.xml")
    meter = Meter((("au_h", tmp_path / "au.xml"),))
    assert "au_h" not in meter.missing
    frames = clip().frames[:6]
    figures = meter.measure(meter.truth(frames, 5), frames)
    assert figures["au_h"][0] == 0
    assert "csim" not in figures
    assert figures["au_mesh_hamming"] == [0, 0]
