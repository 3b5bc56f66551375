"""The discriminators D and D_m (section 3.3): SPADE's multi-scale patch discriminators with spectral norm.

D judges (x_t, y_t), D_m the mouth (64x64) with h_audio replicated over it. Each is the same patch network at two
scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.utils.parametrizations import spectral_norm

MOUTH = 64
SLOPE = 0.2


@dataclass(frozen=True)
class Judged:
    """What one scale says. patches: (B, 1, h, w), high for real. features: the maps before it, for feature matching."""

    patches: Tensor
    features: tuple[Tensor, ...]


class PatchNet(nn.Module):
    """4x4 convolutions: stride 2 and LReLU, ``layers`` - 2 more with instance norm, one with stride 1, one to a patch
    map.
    """

    def __init__(self, channels: int, base: int = 64, layers: int = 4) -> None:
        super().__init__()
        widths = [base * min(2**n, 8) for n in range(layers)]
        stages = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=2)]
        for n in range(1, layers):
            stride = 1 if n == layers - 1 else 2
            stages.append(nn.Conv2d(widths[n - 1], widths[n], 4, stride=stride, padding=2, bias=False))
        self.stages = nn.ModuleList(spectral_norm(stage) for stage in stages)
        self.patches = spectral_norm(nn.Conv2d(widths[-1], 1, 4, padding=2))

    def forward(self, x: Tensor) -> Judged:
        features = []
        for n, stage in enumerate(self.stages):
            x = stage(x)
            x = f.leaky_relu(f.instance_norm(x) if n else x, SLOPE)
            features.append(x)
        return Judged(self.patches(x), tuple(features))


class Discriminator(nn.Module):
    """Patch networks at full and at half size.

    channels: of condition and picture together. base: channels after the first convolution, 64 in SPADE.
    """

    def __init__(self, channels: int, base: int = 64, scales: int = 2, layers: int = 4) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchNet(channels, base, layers) for _ in range(scales))

    def forward(self, x: Tensor) -> list[Judged]:
        """(B, channels, H, W) -> what each scale says, the finest first."""
        out = []
        for n, net in enumerate(self.scales):
            if n:
                x = f.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            out.append(net(x))
        return out


def whole_input(code: Tensor, picture: Tensor) -> Tensor:
    """Input of D: (B, 3, H, W) PNCC and (B, 3, H, W) picture -> (B, 6, H, W)."""
    return torch.cat((code, picture), 1)


def mouth_input(picture: Tensor, centre: Tensor, audio: Tensor | None) -> Tensor:
    """Input of D_m: the 64x64 cut around the mouth, with h_audio over every pixel.

    picture: (B, 3, 256, 256). centre: (B, 2), x, y in pixels; the cut is moved into the picture where it would leave
    it. audio: (B, 300) or None. Returns (B, 3 or 303, 64, 64). The gradient flows into the picture.
    """
    height, width = picture.shape[-2:]
    left = (centre[:, 0] - MOUTH / 2).round().long().clamp(0, width - MOUTH)
    top = (centre[:, 1] - MOUTH / 2).round().long().clamp(0, height - MOUTH)
    steps = torch.arange(MOUTH, device=picture.device)
    rows, columns = top[:, None] + steps, left[:, None] + steps
    batch = torch.arange(len(picture), device=picture.device)[:, None, None]
    cut = picture.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if audio is None:
        return cut
    return torch.cat((cut, audio[:, :, None, None].to(cut.dtype).expand(-1, -1, MOUTH, MOUTH)), 1)
