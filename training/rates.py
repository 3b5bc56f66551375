"""What a step costs in arithmetic, and what this machine could do: the floor beside which speed is reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def step_flops(step: Callable[[], T]) -> tuple[T, float]:
    """Run a step and count its floating-point operations (two for a multiply-accumulate), backward included."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        out = step()
    return out, float(counter.get_total_flops())


def matrix_rate(device: torch.device, half: bool, seconds: float = 0.3) -> float:
    """Measured floating-point operations a second of a large square matrix product, float32 or bfloat16."""
    size = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if half else torch.float32
    a = torch.randn(size, size, device=device).to(kind)
    b = torch.randn(size, size, device=device).to(kind)

    def finish() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for _ in range(3):
        a @ b
    start, count = finish(), 0
    while finish() - start < seconds:
        a @ b
        count += 1
    return 2.0 * size**3 * count / (finish() - start)
