"""Instance norm, modulation and LReLU in two passes over memory instead of six, as Triton kernels (CUDA).

HeadGAN's SPADE and AdaIN rounds do this 16 times a frame, with audio 22, on maps that a convolution leaves channels last.
``modulated`` of ``models.headgan_blocks`` is the reference, and the tests hold this to it (on a CPU in Triton's
interpreter). Not measured yet: no GPU was to be had; ``python -m training.headgan_speed --device cuda`` prints the
frame with and without it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

SPLITS = 32
ROWS = 64


@triton.jit
def _sums(x, out, size, channels, splits, rows: tl.constexpr, width: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sums over a share of the pixels of x - x[0] and of its square; the shift keeps a large mean from eating the
    variance.
    """
    batch, part, block = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    channel = block * width + tl.arange(0, width)
    inside = channel < channels
    base = x + batch.to(tl.int64) * size * channels
    shift = tl.load(base + channel, mask=inside, other=0.0).to(tl.float32)
    first = tl.zeros((width,), tl.float32)
    second = tl.zeros((width,), tl.float32)
    for start in range(part * rows, size, splits * rows):
        pixel = start + tl.arange(0, rows)
        seen = (pixel < size)[:, None] & inside[None, :]
        v = tl.load(base + pixel[:, None] * channels + channel[None, :], mask=seen, other=0.0).to(tl.float32)
        d = tl.where(seen, v - shift[None, :], 0.0)
        first += tl.sum(d, 0)
        second += tl.sum(d * d, 0)
    place = out + ((batch * splits + part) * channels + channel) * 2
    tl.store(place, first, mask=inside)
    tl.store(place + 1, second, mask=inside)


@triton.jit
def _apply(  # type: ignore[no-untyped-def]
    x, sums, modulation, out, size, channels, pixels, epsilon, slope,
    splits: tl.constexpr, rows: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """pixels: how many pixels have a modulation of their own: ``size`` (SPADE) or 1 (AdaIN)."""
    batch, part, block = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    channel = block * width + tl.arange(0, width)
    inside = channel < channels
    base = batch.to(tl.int64) * size * channels
    lines = tl.arange(0, splits)
    place = sums + ((batch * splits + lines[:, None]) * channels + channel[None, :]) * 2
    first = tl.sum(tl.load(place, mask=inside[None, :], other=0.0), 0) / size
    second = tl.sum(tl.load(place + 1, mask=inside[None, :], other=0.0), 0) / size
    shift = tl.load(x + base + channel, mask=inside, other=0.0).to(tl.float32)
    mean = shift + first
    scale = 1.0 / tl.sqrt(tl.maximum(second - first * first, 0.0) + epsilon)
    pixel = part * rows + tl.arange(0, rows)
    seen = (pixel < size)[:, None] & inside[None, :]
    at = base + pixel[:, None] * channels + channel[None, :]
    v = tl.load(x + at, mask=seen, other=0.0).to(tl.float32)
    own = tl.where(pixels == 1, 0, pixel)
    there = modulation + batch.to(tl.int64) * pixels * channels * 2 + own[:, None] * channels * 2 + channel[None, :]
    gamma = tl.load(there, mask=seen, other=0.0).to(tl.float32)
    beta = tl.load(there + channels, mask=seen, other=0.0).to(tl.float32)
    y = (v - mean[None, :]) * scale[None, :] * (1.0 + gamma) + beta
    y = tl.where(y >= 0, y, y * slope)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=seen)


def modulated(x: Tensor, modulation: Tensor, slope: float, epsilon: float) -> Tensor:
    """As ``models.headgan_blocks.modulated``: (B, C, H, W) and (B, 2C, H, W) or (B, 2C, 1, 1) -> (B, C, H, W),
    channels last.
    """
    layout: Any = {"memory_format": torch.channels_last}
    x, modulation = x.contiguous(**layout), modulation.contiguous(**layout)
    batch, channels, height, across = x.shape
    size = height * across
    sums = torch.empty((batch, SPLITS, channels, 2), device=x.device, dtype=torch.float32)
    out = torch.empty_like(x)
    width = min(64, triton.next_power_of_2(channels))
    blocks = triton.cdiv(channels, width)
    _sums[(batch, SPLITS, blocks)](x, sums, size, channels, SPLITS, ROWS, width)
    _apply[(batch, triton.cdiv(size, ROWS), blocks)](
        x, sums, modulation, out, size, channels, modulation[0, 0].numel(), epsilon, slope, SPLITS, ROWS, width
    )
    return out
