"""Features for the perceptual loss: VGG19 from a user's file, else the VGG16 that LPIPS brings.

The paper's VGG loss uses VGG19. No registry carries its weights in a form that can be checked, so the default is VGG16
with the ImageNet weights that LPIPS was made from (``bench.metrics`` fetches and checks them); a state dict of
torchvision's VGG19 (``features.0.weight`` ..., safetensors or a weights-only ``.pth``) takes its place where a user has
one. Layers: relu1_1, 2_1, 3_1, 4_1, 5_1 with SPADE's weights.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from codec.errors import HeadwireError, UsageError

WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
_VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def perceptual_features(kind: str, vgg19: Path | str | None = None) -> VggFeatures | AlexFeatures | None:
    """``vgg`` (the paper's; VGG16 without a file of VGG19), ``alex`` or ``none``. Raises UsageError for another."""
    if kind == "none":
        return None
    if kind == "alex":
        return AlexFeatures()
    if kind != "vgg":
        raise UsageError(f"there are no perceptual features {kind!r}: choose vgg, alex or none")
    return VggFeatures(vgg19)


class VggFeatures(nn.Module):
    """The first feature map of each of VGG's five stages, of pictures in -1..1. Frozen.

    vgg19: a file with torchvision's weights; None is VGG16. Raises UsageError where the file is not there,
    HeadwireError where it is not VGG19 or VGG16's weights cannot be had.
    """

    def __init__(self, vgg19: Path | str | None = None) -> None:
        super().__init__()
        self.name = "vgg16" if vgg19 is None else "vgg19"
        pairs = _vgg16() if vgg19 is None else _vgg19(Path(vgg19))
        # What follows the first convolution of the fifth stage is never looked at.
        plan = _VGG16 if vgg19 is None else _VGG19
        stages = [index for index, width in enumerate(plan) if width == 0]
        count = sum(width > 0 for width in plan[: stages[-1]]) + 1
        self._pool = {sum(width > 0 for width in plan[:index]) for index in stages}
        for n, (weight, bias) in enumerate(pairs[:count]):
            self.register_buffer(f"weight{n}", weight.clone(), persistent=False)
            self.register_buffer(f"bias{n}", bias.clone(), persistent=False)
        self._count = count
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), -1..1 -> five feature maps, finest first."""
        h = ((x + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("deviation")
        out = []
        for n in range(self._count):
            if n in self._pool:
                h = f.max_pool2d(h, 2)
            h = f.relu(f.conv2d(h, self.get_buffer(f"weight{n}"), self.get_buffer(f"bias{n}"), padding=1))
            if n == 0 or n in self._pool:
                out.append(h)
        return out


class AlexFeatures(nn.Module):
    """The five feature maps of LPIPS' AlexNet, of pictures in -1..1: a fiftieth of VGG's arithmetic, for training on a
    CPU.
    """

    name = "alex"

    def __init__(self) -> None:
        super().__init__()
        from bench.metrics import Lpips

        for n, (weight, bias) in enumerate(Lpips("alex")._convolutions):
            self.register_buffer(f"weight{n}", weight.clone(), persistent=False)
            self.register_buffer(f"bias{n}", bias.clone(), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), -1..1 -> five feature maps, finest first."""
        h = ((x + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("deviation")
        out = []
        for n in range(5):
            h = f.max_pool2d(h, 3, 2) if n in (1, 2) else h
            weight, bias = self.get_buffer(f"weight{n}"), self.get_buffer(f"bias{n}")
            h = f.relu(f.conv2d(h, weight, bias, stride=4 if n == 0 else 1, padding=(2, 2, 1, 1, 1)[n]))
            out.append(h)
        return out


def _vgg16() -> list[tuple[Tensor, Tensor]]:
    from bench.metrics import Lpips

    return list(Lpips("vgg")._convolutions)


def _vgg19(path: Path) -> list[tuple[Tensor, Tensor]]:
    if not path.is_file():
        raise UsageError(
            f"no VGG19 weights at {path}: give torchvision's state dict, or leave the option out for VGG16"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        index, pairs, channels = 0, [], 3
        for width in _VGG19:
            if width == 0:
                index += 1
                continue
            weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
            if tuple(weight.shape) != (width, channels, 3, 3) or tuple(bias.shape) != (width,):
                raise HeadwireError(f"{path} is not VGG19: features.{index}.weight has the shape {tuple(weight.shape)}")
            pairs.append((weight.float(), bias.float()))
            index, channels = index + 2, width
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError, OSError, EOFError, UnpicklingError) as error:
        raise HeadwireError(f"{path} does not hold torchvision's VGG19 weights: {error}") from error
    return pairs
