"""The blocks of HeadGAN's networks (Figure 9): the encoder, SPADE and AdaIN blocks, and warping by a flow.

Shapes are (B, C, H, W) float. "SPADE" and "AdaIN" of Tables 4 and 5 are blocks of two rounds of normalise, modulate,
LReLU, 3x3 convolution, without a residual path and with the channels kept: that is the reading under which the tables
give the 39.2 M parameters and 212 GMAC of ``models.headgan``. The paper is silent about the hidden width of SPADE: 128
here, as in SPADE itself (Park et al. 2019). The two convolutions for gamma and beta are one, with gamma's channels
first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

SLOPE = 0.2
EPSILON = 1e-5


def normalised(x: Tensor) -> Tensor:
    """Instance norm without learned parameters."""
    out: Tensor = f.instance_norm(x, eps=EPSILON)
    return out


def modulated(x: Tensor, modulation: Tensor, slope: float = 1.0, fused: bool = False) -> Tensor:
    """LReLU of ``(1 + gamma) n + beta``, n the instance norm of x; a slope of 1 leaves the LReLU out.

    modulation: (B, 2C, H, W) or (B, 2C, 1, 1), gamma's channels first. fused: by the kernels of ``models.headgan_triton``.
    """
    if fused:
        from models import headgan_triton

        return headgan_triton.modulated(x, modulation, slope, EPSILON)
    gamma, beta = modulation.chunk(2, 1)
    out = normalised(x) * (1 + gamma) + beta
    return out if slope == 1.0 else f.leaky_relu(out, slope)


def shrunk(x: Tensor, size: int) -> Tensor:
    """(B, C, S, S) -> (B, C, size, size) by the mean over each cell, so that pixel centres stay where they are."""
    factor = x.shape[-1] // size
    return x if factor == 1 else f.avg_pool2d(x, factor)


class Encoder(nn.Module):
    """7x7 to w channels, then 3x3 with stride 2 to 4w and to 16w; each with instance norm and ReLU.

    Returns the three feature maps, finest first: (B, w, S, S), (B, 4w, S/2, S/2), (B, 16w, S/4, S/4).
    """

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(channels, base, 7, padding=3)
        self.middle = nn.Conv2d(base, 4 * base, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(4 * base, 16 * base, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h1 = f.relu(normalised(self.fine(x)))
        h2 = f.relu(normalised(self.middle(h1)))
        h3 = f.relu(normalised(self.coarse(h2)))
        return h1, h2, h3


class Spade(nn.Module):
    """Spatially adaptive denormalisation: instance norm, then ``(1 + gamma) x + beta``, maps made from a condition."""

    fused = False

    def __init__(self, channels: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(condition, hidden, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor, slope: float = 1.0) -> Tensor:
        return modulated(x, self.modulation(f.relu(self.hidden(condition))), slope, self.fused)


class SpadeBlock(nn.Module):
    """Two rounds of SPADE, LReLU, 3x3 convolution; the condition has the size of x."""

    def __init__(self, channels: int, condition: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(Spade(channels, condition, hidden) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = convolution(norm(x, condition, SLOPE))
        return x


class AdaIn(nn.Module):
    """Instance norm, then scale and shift that a linear layer makes from a vector (B, features)."""

    fused = False

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(features, 2 * channels)

    def forward(self, x: Tensor, vector: Tensor, slope: float = 1.0) -> Tensor:
        return modulated(x, self.modulation(vector)[:, :, None, None], slope, self.fused)


class AdaInBlock(nn.Module):
    """Two rounds of AdaIN, LReLU, 3x3 convolution."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(AdaIn(channels, features) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = convolution(norm(x, vector, SLOPE))
        return x


def pixel_grid(size: int, like: Tensor) -> Tensor:
    """(1, 2, size, size): the pixels' own centres, x then y, on the scale of ``grid_sample`` (-1..1, edge to edge)."""
    centres = (torch.arange(size, device=like.device, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack((x, y))[None]


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """Move a picture or a feature map: pixel p shows x at p + flow(p), bilinear, the border repeated.

    flow: (B, 2, S, S), displacement x, y in half widths of the picture (128 pixels of 256); S a multiple of x's size.
    Coordinates are float32 whatever the arithmetic around them.
    """
    size = x.shape[-1]
    field = (shrunk(flow.float(), size) + pixel_grid(size, x)).permute(0, 2, 3, 1)
    out = f.grid_sample(x.float(), field, mode="bilinear", padding_mode="border", align_corners=False)
    return out.to(x.dtype)
