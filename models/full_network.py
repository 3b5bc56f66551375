"""``full``'s network in torch, for training and for GPUs; ``models.full_graph`` builds the same for OpenVINO.

It sees the picture that ``warp`` painted and others that ``warp`` painted from further photos, knows the geometry and hears the
voice, and says where else in the picture a pixel should come from, how much of each other picture it should have, and what to
add. All of that is nothing at first: an untrained network paints ``warp``'s picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from models.full_config import FLOW_SCALE, FullConfig
from models.light_inputs import CELL, COLOURS, GEOMETRY


class Said(NamedTuple):
    """What the network says of B frames of h x w cells. colours: (B, 48, h, w), to be added, -1..1 a picture. flow: (B, 2, h, w)
    pixels. shares: (B, K, 4 h, 4 w), of each other picture.
    """

    colours: Tensor
    flow: Tensor
    shares: Tensor


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.3

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(f.relu(self.first(x)))  # type: ignore[no-any-return]


class FullNet(nn.Module):
    """forward: shown (B, 3, H, W) and others (B, K, 3, H, W), -1..1; geometry (B, 12, H / 4, W / 4); audio (B, 300) or None."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        self.config = c = config
        self.stem = nn.Conv2d(COLOURS * (1 + c.others) + GEOMETRY, c.fine, 3, padding=1)
        self.before = nn.Sequential(*(Block(c.fine) for _ in range(c.blocks)))
        self.down = nn.Conv2d(c.fine, c.coarse, 3, stride=2, padding=1)
        self.middle = nn.Sequential(*(Block(c.coarse) for _ in range(c.middle)))
        self.up = nn.Conv2d(c.coarse, 4 * c.fine, 1)
        self.after = nn.Sequential(*(Block(c.fine) for _ in range(c.blocks)))
        self.colour = nn.Conv2d(c.fine, COLOURS, 3, padding=1)
        self.flow = nn.Conv2d(c.fine, 2, 3, padding=1)
        silent: list[nn.Module] = [self.colour, self.flow]
        if c.others:
            self.share = nn.Conv2d(c.fine, CELL * CELL * c.others, 3, padding=1)
            silent.append(self.share)
        if c.audio:
            self.hear = nn.Linear(c.audio, 2 * c.coarse)
            silent.append(self.hear)
        for layer in silent:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    @property
    def heads(self) -> list[nn.Parameter]:
        """What the last layers learn."""
        names = ("colour", "flow", "share")
        return [p for name, p in self.named_parameters() if name.split(".")[0] in names]

    def forward(self, shown: Tensor, others: Tensor, geometry: Tensor, audio: Tensor | None) -> Said:
        c = self.config
        pictures = [in_cells(shown), *(in_cells(others[:, n]) for n in range(c.others))]
        x = torch.cat((*pictures, geometry), 1).contiguous(memory_format=torch.channels_last)
        x = self.before(f.relu(self.stem(x)))
        y = f.relu(self.down(x))
        if c.audio:
            if audio is None:
                raise ValueError("this network was made with audio features and got none")
            scale, shift = self.hear(audio)[:, :, None, None].chunk(2, 1)
            y = y * (1 + scale) + shift
        y = self.middle(y)
        x = self.after(x + f.pixel_shuffle(self.up(y), 2))
        shares = f.pixel_shuffle(self.share(x), CELL) if c.others else x[:, :0, :1, :1]
        return Said(self.colour(x), FLOW_SCALE * self.flow(x), shares)


def in_cells(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 48, H / 4, W / 4), ``models.light_inputs.in_cells``' order of channels."""
    b, _, h, w = pictures.shape
    cells = pictures.reshape(b, 3, h // CELL, CELL, w // CELL, CELL).permute(0, 3, 5, 1, 2, 4)
    return cells.reshape(b, COLOURS, h // CELL, w // CELL)


def painted(shown: Tensor, others: Tensor, said: Said) -> Tensor:
    """(B, 3, H, W): the picture looked up again (cubic) where the flow says, the others' shares of it, and the colours added."""
    flow = f.interpolate(said.flow.float(), scale_factor=CELL, mode="bilinear", align_corners=False)
    b, _, h, w = shown.shape
    y = torch.arange(h, device=shown.device, dtype=torch.float32)[:, None] + 0.5
    x = torch.arange(w, device=shown.device, dtype=torch.float32) + 0.5
    place = torch.stack(((x + flow[:, 0]) * (2 / w) - 1, (y + flow[:, 1]) * (2 / h) - 1), -1)
    out = f.grid_sample(shown.float(), place, mode="bicubic", padding_mode="border", align_corners=False)
    mixed = out
    for n in range(said.shares.shape[1]):
        mixed = mixed + said.shares[:, n : n + 1].float() * (others[:, n].float() - out)
    cells = said.colours.float().reshape(b, CELL, CELL, 3, h // CELL, w // CELL).permute(0, 3, 4, 1, 5, 2)
    return mixed + cells.reshape(b, 3, h, w)
