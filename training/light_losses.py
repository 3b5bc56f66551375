"""What ``light`` is told to get right: colours, edges, what two perceptual networks see, and to do no harm.

LPIPS-Alex is cheap and flatters whoever trains on it; LPIPS-VGG, up to relu4_3, is dear and is therefore asked about a part of each
batch. Edges are differences between neighbours at two scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f

_POOLS = {"alex": (1, 2), "vgg": (2, 4, 7, 10)}
_LOOKED_AT = {"alex": (0, 1, 2, 3, 4), "vgg": (1, 3, 6, 9, 12)}


@dataclass(frozen=True)
class LightWeights:
    """Weights of the terms. l1, edges: of pictures in -1..1. alex, vgg: LPIPS. change: L1 to the warped picture, so that nothing is
    touched without good reason. harm: see ``harm``; LPIPS likes a tint that nobody asked for.
    """

    l1: float = 1.0
    edges: float = 0.5
    alex: float = 1.0
    vgg: float = 1.2
    change: float = 0.05
    harm: float = 2.0


class PerceptualDistance(nn.Module):
    """LPIPS with a gradient, for pictures in -1..1; the canonical weights, frozen.

    net: ``alex`` or ``vgg``. stages: how many of the five count. Raises HeadwireError where the weights cannot be had.
    """

    def __init__(self, net: str, stages: int = 5) -> None:
        super().__init__()
        from bench.metrics import Lpips

        lpips = Lpips(net)
        self._net, self._looked_at = net, _LOOKED_AT[net][:stages]
        for n, (weight, bias) in enumerate(lpips._convolutions[: self._looked_at[-1] + 1]):
            self.register_buffer(f"weight{n}", weight.clone(), persistent=False)
            self.register_buffer(f"bias{n}", bias.clone(), persistent=False)
        for n, head in enumerate(lpips._heads[:stages]):
            self.register_buffer(f"head{n}", head.clone(), persistent=False)
        self.register_buffer("shift", lpips._shift.clone(), persistent=False)
        self.register_buffer("scale", lpips._scale.clone(), persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Unit-length features, finest first."""
        x = (x - self.get_buffer("shift")) / self.get_buffer("scale")
        x = x.contiguous(memory_format=torch.channels_last)
        out = []
        for n in range(self._looked_at[-1] + 1):
            if n in _POOLS[self._net]:
                x = f.max_pool2d(x, 3, 2) if self._net == "alex" else f.max_pool2d(x, 2, 2)
            stride, padding = (4, 2) if n == 0 and self._net == "alex" else (1, 1)
            if self._net == "alex" and n == 1:
                padding = 2
            x = f.relu(f.conv2d(x, self.get_buffer(f"weight{n}"), self.get_buffer(f"bias{n}"), stride, padding))
            if n in self._looked_at:
                y = x.float()
                out.append(y * (y.square().sum(1, keepdim=True) + 1e-8).rsqrt())
        return out

    def forward(self, truth: Tensor, shown: Tensor) -> Tensor:
        """(B,): the distance of each pair. The truth gets no gradient."""
        with torch.no_grad():
            wanted = self.features(truth)
        total = torch.zeros(len(truth), device=truth.device)
        for n, (a, b) in enumerate(zip(wanted, self.features(shown), strict=True)):
            total = total + ((a - b).square() * self.get_buffer(f"head{n}")).sum(1).mean((1, 2))
        return total


def counts(truth: Tensor, before: Tensor, most: float) -> Tensor:
    """(B,), one in the mean: what each sample counts, less where the picture was more wrong than ``most`` (L1).

    The worst crops show what nobody can know (a hand, torn hair); by themselves they would decide what is learned, at the cost of
    pictures that are nearly right.
    """
    weight = 1 / ((before - truth).abs().mean((1, 2, 3)) + most)
    return weight / weight.mean()


def harm(truth: Tensor, before: Tensor, shown: Tensor, sides: Sequence[int] = (4, 16)) -> Tensor:
    """(B,): how much further from the truth than before the mean colours of squares are, where they are: the mean over the sides, px.

    A tint of half a grey level costs nothing where the picture is wrong by ten, to L1; here it costs wherever it leads away.
    """
    total = torch.zeros(len(truth), device=truth.device)
    for side in sides:
        wanted, old, new = (f.avg_pool2d(x, side) for x in (truth, before, shown))
        total = total + f.relu((new - wanted).abs() - (old - wanted).abs()).mean((1, 2, 3))
    return total / len(sides)


def edges(truth: Tensor, shown: Tensor, scales: Sequence[int] = (1, 2)) -> Tensor:
    """(B,): L1 between the differences of neighbours, the mean over scales and both directions."""
    total = torch.zeros(len(truth), device=truth.device)
    for scale in scales:
        a, b = (f.avg_pool2d(x, scale) if scale > 1 else x for x in (truth, shown))
        for dim in (2, 3):
            total = total + (a.diff(dim=dim) - b.diff(dim=dim)).abs().mean((1, 2, 3))
    return total / (2 * len(scales))
