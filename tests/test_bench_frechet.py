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
