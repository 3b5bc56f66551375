"""The command that times headgan: on a CPU, where it must at least work."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from codec.errors import UsageError  # noqa: E402
from models.headgan import HeadGANConfig, gmac  # noqa: E402
from models.headgan_networks import HeadGANNet  # noqa: E402
from models.headgan_runtime import Painter  # noqa: E402
from training import headgan_speed  # noqa: E402
from training.headgan_speed import SpeedSettings  # noqa: E402


def test_every_way_paints_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headgan_speed, "matrix_rate", lambda device, half: 1e11)
    found = headgan_speed.measure(SpeedSettings(width=0.03, audio=False, frames=1))
    assert [way["name"] for way in found["ways"]] == ["float32", "half"]
    assert all(way["ms"] > 0 and not way["failed"] for way in found["ways"])
    assert found["ways"][0]["apart"] == 0
    assert found["ways"][1]["apart"] < 3
    assert found["floor_ms"] == pytest.approx(20 * gmac(HeadGANConfig(0.03)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_what_needs_a_gpu_says_so() -> None:
    with pytest.raises(UsageError, match="CUDA"):
        headgan_speed.measure(SpeedSettings(device="cuda"))
    with pytest.raises(UsageError, match="triton"):
        Painter(HeadGANNet(HeadGANConfig(0.03)), fused=True)
