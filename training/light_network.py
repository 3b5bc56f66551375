"""``light``'s network in torch, for training; ``models.light_graph`` builds the same for OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from models.light_graph import FLOW_SCALE
from models.light_inputs import CELL, COLOURS, GEOMETRY


@dataclass(frozen=True)
class LightConfig:
    """fine, coarse, deep: channels at 64x64, 32x32 and 16x16. blocks: residual blocks at 64x64 before and after; middle: at 32x32
    before 16x16, late: after it; bottom: at 16x16.
    """

    fine: int = 64
    coarse: int = 112
    blocks: int = 2
    middle: int = 3
    deep: int = 192
    bottom: int = 3
    late: int = 1


class Block(nn.Module):
    """x + conv(relu(conv(x))). part: of the usual size that the second layer's weights begin with."""

    def __init__(self, width: int, part: float = 0.3) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= part
            if self.second.bias is not None:
                self.second.bias *= part

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(f.relu(self.first(x)))  # type: ignore[no-any-return]


class LightNet(nn.Module):
    """(B, 48, h, w) colours -1..1 and (B, 12, h, w) geometry -> (B, 48, h, w) residual colours, (B, 2, h, w) residual flow, px."""

    def __init__(self, config: LightConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or LightConfig()
        self.stem = nn.Conv2d(COLOURS + GEOMETRY, c.fine, 3, padding=1)
        self.before = nn.Sequential(*(Block(c.fine) for _ in range(c.blocks)))
        self.down = nn.Conv2d(c.fine, c.coarse, 3, stride=2, padding=1)
        self.middle = nn.Sequential(*(Block(c.coarse) for _ in range(c.middle)))
        self.deeper = nn.Conv2d(c.coarse, c.deep, 3, stride=2, padding=1)
        self.bottom = nn.Sequential(*(Block(c.deep) for _ in range(c.bottom)))
        self.rise = nn.Conv2d(c.deep, 4 * c.coarse, 1)
        self.late = nn.Sequential(*(Block(c.coarse, 0.0) for _ in range(c.late)))
        self.up = nn.Conv2d(c.coarse, 4 * c.fine, 1)
        self.after = nn.Sequential(*(Block(c.fine) for _ in range(c.blocks)))
        self.colour = nn.Conv2d(c.fine, COLOURS, 3, padding=1)
        self.flow = nn.Conv2d(c.fine, 2, 3, padding=1)
        for head in (self.colour, self.flow, self.rise):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, colours: Tensor, geometry: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat((colours, geometry), 1).contiguous(memory_format=torch.channels_last)
        x = self.before(f.relu(self.stem(x)))
        y = self.middle(f.relu(self.down(x)))
        z = self.bottom(f.relu(self.deeper(y)))
        y = self.late(y + f.pixel_shuffle(self.rise(z), 2))
        x = self.after(x + f.pixel_shuffle(self.up(y), 2))
        return self.colour(x), FLOW_SCALE * self.flow(x)


def in_cells(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 48, H / 4, W / 4), ``models.light_inputs.in_cells``' order of channels."""
    b, _, h, w = pictures.shape
    cells = pictures.view(b, 3, h // CELL, CELL, w // CELL, CELL).permute(0, 3, 5, 1, 2, 4)
    return cells.reshape(b, COLOURS, h // CELL, w // CELL)


def from_cells(cells: Tensor) -> Tensor:
    """The inverse of ``in_cells``."""
    b, _, h, w = cells.shape
    pictures = cells.view(b, CELL, CELL, 3, h, w).permute(0, 3, 4, 1, 5, 2)
    return pictures.reshape(b, 3, h * CELL, w * CELL)


def painted(shown: Tensor, colours: Tensor, flow: Tensor) -> Tensor:
    """(B, 3, H, W) warped pictures -1..1, looked up again (cubic) where the residual flow says, and the residual colours added."""
    flow = f.interpolate(flow.float(), scale_factor=CELL, mode="bilinear", align_corners=False)
    _, _, h, w = shown.shape
    y = torch.arange(h, device=shown.device, dtype=torch.float32)[:, None] + 0.5
    x = torch.arange(w, device=shown.device, dtype=torch.float32) + 0.5
    place = torch.stack(((x + flow[:, 0]) * (2 / w) - 1, (y + flow[:, 1]) * (2 / h) - 1), -1)
    moved = f.grid_sample(shown.float(), place, mode="bicubic", padding_mode="border", align_corners=False)
    return moved + from_cells(colours.float())
