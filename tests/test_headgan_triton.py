"""The fused kernels against the plain arithmetic: on a GPU, or in Triton's interpreter on a CPU."""

from __future__ import annotations

import os
from typing import Any

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    # Read when the kernels are made, so it must be set before the module is imported.
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")

from models import headgan_blocks  # noqa: E402
from models.headgan_blocks import EPSILON, SLOPE  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("channels", "size", "pixelwise"), [(6, 12, True), (70, 8, True), (16, 12, False)])
@pytest.mark.parametrize("slope", [SLOPE, 1.0])
def test_parity(channels: int, size: int, pixelwise: bool, slope: float) -> None:
    from models import headgan_triton

    torch.manual_seed(0)
    side = size if pixelwise else 1
    x = 3 * torch.randn(2, channels, size, size, device=DEVICE) + 50
    modulation = torch.randn(2, 2 * channels, side, side, device=DEVICE)
    wanted = headgan_blocks.modulated(x.double(), modulation.double(), slope)
    found = headgan_triton.modulated(x, modulation, slope, EPSILON)
    assert torch.allclose(found.double(), wanted, atol=1e-4)


def test_half_precision_is_rounded_only_at_the_end() -> None:
    from models import headgan_triton

    torch.manual_seed(0)
    x: Any = torch.randn(1, 8, 16, 16, device=DEVICE).half()
    modulation = torch.randn(1, 16, 16, 16, device=DEVICE).half()
    wanted = headgan_blocks.modulated(x.double(), modulation.double(), SLOPE)
    found = headgan_triton.modulated(x, modulation, SLOPE, EPSILON)
    assert found.dtype == torch.float16
    assert torch.allclose(found.double(), wanted, atol=4e-3)
