"""Running HeadGAN's network a frame at a time: pictures in, pictures out, on a CPU or with CUDA graphs on a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.errors import UsageError
from codec.parameters import Floats, Picture
from models.headgan_blocks import AdaIn, Spade
from models.headgan_networks import Encoded, HeadGANNet


def to_tensor(picture: Picture, device: torch.device) -> Tensor:
    """(256, 256, 3) uint8 -> (1, 3, 256, 256) float, -1..1."""
    return torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_picture(x: Tensor) -> Picture:
    """(1, 3, 256, 256) -1..1 -> (256, 256, 3) uint8."""
    out: Picture = ((x[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
    return out


class Painter:
    """The network, channels last, in half precision if asked; on CUDA the per-frame path is captured as one graph.

    fused: norm, modulation and LReLU by Triton's kernels. compiled: the per-frame path through torch.compile. Neither
    has been measured yet. Raises UsageError where the kernels are asked for and cannot run.
    """

    def __init__(
        self, net: HeadGANNet, device: str = "cpu", half: bool = False, fused: bool = False, compiled: bool = False
    ) -> None:
        self.device = torch.device(device)
        kind = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        self.dtype = kind if half else torch.float32
        layout: Any = {"memory_format": torch.channels_last}
        self.net = net.to(self.device, self.dtype).to(**layout).eval()
        fuse(self.net, self.device, fused)
        self._step: Any = torch.compile(self.net.paint) if compiled else self.net.paint
        self._graph: Any = None

    def _ready(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, picture: Picture, code: Floats) -> Encoded:
        """Reference picture (256, 256, 3) uint8 and PNCC (256, 256, 3) -> what the frames need of them."""
        condition = torch.from_numpy(code).to(self.device).permute(2, 0, 1)[None]
        out: Encoded = self.net.encode(self._ready(to_tensor(picture, self.device)), self._ready(condition))
        return out

    @torch.inference_mode()
    def paint(self, reference: Encoded, window: Floats, audio: Floats) -> Picture:
        """window: (256, 256, 9), three PNCC. audio: (300,), or (0,) for a network without."""
        x = self._ready(torch.from_numpy(window).to(self.device).permute(2, 0, 1)[None])
        h = torch.from_numpy(audio).to(self.device, self.dtype)[None] if self.net.config.audio else None
        if self.device.type == "cuda":
            return to_picture(self._replay(reference, x, h))
        return to_picture(self._step(reference, x, h).picture)

    def _replay(self, reference: Encoded, x: Tensor, h: Tensor | None) -> Tensor:
        if self._graph is None:
            self._graph = _Graph(self._step, reference, x, h)
        out: Tensor = self._graph(reference, x, h)
        return out


def fuse(net: HeadGANNet, device: torch.device, wanted: bool) -> None:
    """Set whether norm, modulation and LReLU are fused. Raises UsageError where that is wanted and cannot be."""
    if wanted and (device.type != "cuda" or find_spec("triton") is None):
        raise UsageError("the fused kernels need a CUDA device and triton: leave fused out")
    for module in net.modules():
        if isinstance(module, Spade | AdaIn):
            module.fused = wanted


class _Graph:
    """A CUDA graph of ``paint`` with inputs of its own; a new reference is copied into them once."""

    def __init__(self, step: Any, reference: Encoded, x: Tensor, h: Tensor | None) -> None:
        self._held = Encoded(*(part.clone() for part in _parts(reference)))
        self._x, self._h = x.clone(), None if h is None else h.clone()
        self._reference: Encoded | None = reference
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(self._held, self._x, self._h)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._out = step(self._held, self._x, self._h).picture

    def __call__(self, reference: Encoded, x: Tensor, h: Tensor | None) -> Tensor:
        if reference is not self._reference:
            for target, source in zip(_parts(self._held), _parts(reference), strict=True):
                target.copy_(source)
            self._reference = reference
        self._x.copy_(x)
        if self._h is not None and h is not None:
            self._h.copy_(h)
        self._graph.replay()
        return self._out


def _parts(encoded: Encoded) -> tuple[Tensor, ...]:
    return encoded.picture, encoded.fine, encoded.middle, encoded.coarse


__all__ = ["Painter", "fuse", "to_picture", "to_tensor"]
