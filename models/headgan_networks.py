"""HeadGAN's generator, F (Table 4) and R (Table 5), as torch modules. ``models.headgan`` puts them behind the
interface.

Channels: y, the reference picture, 3; x, PNCC, 3 (x_{t-2..t} together 9); h_audio 300. Pictures are -1..1, PNCC 0..1.
The paper is silent about how F's decoder takes its start and about the flow's unit: here it starts from the coarsest
feature map, and the last convolution gives displacements in units of ``FLOW_UNIT``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from models.headgan import HeadGANConfig
from models.headgan_blocks import SLOPE, AdaInBlock, Encoder, SpadeBlock, shrunk, warped

FLOW_UNIT = 1 / 16
"""What 1 at the flow's last convolution means, in half widths of the picture: 8 pixels."""


@dataclass(frozen=True)
class Encoded:
    """What depends on the reference alone. picture (B, 3, S, S); fine, middle, coarse: the encoder's feature maps."""

    picture: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor


@dataclass(frozen=True)
class Painted:
    """picture (B, 3, S, S) -1..1; warped: the reference picture moved by the flow; flow (B, 2, S, S)."""

    picture: Tensor
    warped: Tensor
    flow: Tensor


class FlowNet(nn.Module):
    """F of Table 4: encoder over (y_ref, x_ref), SPADE decoder modulated by x_{t-2..t}, a flow at the end."""

    def __init__(self, config: HeadGANConfig) -> None:
        super().__init__()
        base, hidden = config.base, config.hidden
        self.encoder = Encoder(6, base)
        if config.flow:
            self.coarse = nn.ModuleList(SpadeBlock(16 * base, 9, hidden) for _ in range(3))
            self.middle = SpadeBlock(4 * base, 9, hidden)
            self.flow = nn.Conv2d(base, 2, 7, padding=3)
            nn.init.normal_(self.flow.weight, std=1e-3)
            assert self.flow.bias is not None
            nn.init.zeros_(self.flow.bias)

    def decode(self, coarse: Tensor, window: Tensor) -> Tensor:
        """(B, 16w, S/4, S/4), (B, 9, S, S) -> flow (B, 2, S, S)."""
        small = shrunk(window, coarse.shape[-1])
        h = coarse
        for block in self.coarse:
            h = block(h, small)
        h = f.pixel_shuffle(h, 2)
        h = self.middle(h, shrunk(window, h.shape[-1]))
        flow: Tensor = self.flow(f.leaky_relu(f.pixel_shuffle(h, 2), SLOPE))
        return flow.float() * FLOW_UNIT


class PaintNet(nn.Module):
    """R of Table 5: encoder over x_{t-2..t}; SPADE by the warped features and picture, AdaIN by h_audio."""

    def __init__(self, config: HeadGANConfig) -> None:
        super().__init__()
        base, hidden = config.base, config.hidden
        widths = (16 * base, 4 * base, base)
        self.encoder = Encoder(9, base)
        self.spades = nn.ModuleList(SpadeBlock(width, width, hidden) for width in widths)
        self.adains = nn.ModuleList(AdaInBlock(width, config.audio) for width in widths if config.audio)
        self.last = SpadeBlock(base, 3, hidden)
        self.colour = nn.Conv2d(base, 3, 7, padding=3)

    def forward(self, window: Tensor, moved: Encoded, audio: Tensor | None) -> Tensor:
        h = self.encoder(window)[2]
        for level, condition in enumerate((moved.coarse, moved.middle, moved.fine)):
            h = self.spades[level](h, condition)
            if len(self.adains):
                h = self.adains[level](h, audio)
            if level < 2:
                h = f.pixel_shuffle(h, 2)
        h = self.last(h, moved.picture)
        return torch.tanh(self.colour(f.leaky_relu(h, SLOPE)).float())


class HeadGANNet(nn.Module):
    """F and R. ``encode`` once per reference, ``paint`` once per frame; ``forward`` does both, for training."""

    def __init__(self, config: HeadGANConfig) -> None:
        super().__init__()
        self.config = config
        self.f = FlowNet(config)
        self.r = PaintNet(config)

    def encode(self, picture: Tensor, code: Tensor) -> Encoded:
        """(B, 3, S, S) reference picture, (B, 3, S, S) its PNCC."""
        return Encoded(picture, *self.f.encoder(torch.cat((picture, code), 1)))

    def paint(self, reference: Encoded, window: Tensor, audio: Tensor | None = None) -> Painted:
        """window: (B, 9, S, S), x_{t-2}, x_{t-1}, x_t. audio: (B, 300), for a network with audio.

        Raises ValueError where a network with audio gets none.
        """
        if self.config.audio and audio is None:
            raise ValueError("this network was made with audio features and got none")
        if not self.config.flow:
            still = torch.zeros_like(window[:, :2])
            return Painted(self.r(window, reference, audio), reference.picture, still)
        flow = self.f.decode(reference.coarse, window)
        moved = Encoded(
            warped(reference.picture, flow),
            warped(reference.fine, flow),
            warped(reference.middle, flow),
            warped(reference.coarse, flow),
        )
        return Painted(self.r(window, moved, audio), moved.picture, flow)

    def forward(
        self, picture: Tensor, code: Tensor, window: Tensor, audio: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Picture, warped reference and flow of ``paint`` (a tuple, for torch's parallel wrappers)."""
        painted = self.paint(self.encode(picture, code), window, audio)
        return painted.picture, painted.warped, painted.flow
