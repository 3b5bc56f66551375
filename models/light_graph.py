"""``light``'s network for OpenVINO, built from its safetensors file; ``training.light_network`` is the same in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError
from models import weights_file
from models.light_inputs import CELLS, COLOURS, GEOMETRY
from models.weights_file import Tensors

FORMAT = "headwire-light-2"
FLOW_SCALE = 2.0
"""Pixels that the flow's head means by 1."""


def read_weights(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors as float32, and the metadata, of a safetensors file. Raises HeadwireError where it is none of ``light``'s."""
    return weights_file.read(path, FORMAT, "light")


def build(tensors: Tensors, int8: bool = False) -> Any:
    """openvino.Model: (1, 48, 64, 64) uint8 and (1, 12, 64, 64) float32 -> residual colours (1, 48, 64, 64), in 0..255's scale, and
    residual flow (1, 2, 64, 64), pixels. int8: convolutions with a calibrated input, ``NAME.range``, in 8 bits. Raises HeadwireError
    where a tensor is missing.
    """
    import openvino
    from openvino import opset13 as ov

    colours = ov.parameter([1, COLOURS, CELLS, CELLS], np.uint8, name="colours")
    geometry = ov.parameter([1, GEOMETRY, CELLS, CELLS], np.float32, name="geometry")

    def number(value: float) -> Any:
        return ov.constant(np.float32(value))

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        pad = [weight.shape[2] // 2] * 2
        kernel: Any = ov.constant(weight)
        if int8 and f"{name}.range" in tensors:
            low, high = (number(v) for v in tensors[f"{name}.range"])
            x = ov.fake_quantize(x, low, high, low, high, 256)
            most = np.maximum(np.abs(weight).max((1, 2, 3), keepdims=True), np.float32(1e-6))
            kernel = ov.fake_quantize(
                kernel, ov.constant(-most), ov.constant(most), ov.constant(-most), ov.constant(most), 255
            )
        y = ov.convolution(x, kernel, [stride] * 2, pad, pad, [1, 1])
        return ov.add(y, ov.constant(bias.reshape(1, -1, 1, 1)))

    def blocks(x: Any, name: str) -> Any:
        n = 0
        while f"{name}.{n}.first.weight" in tensors:
            inner = ov.relu(convolution(x, f"{name}.{n}.first"))
            x = ov.add(x, convolution(inner, f"{name}.{n}.second"))
            n += 1
        return x

    try:
        scaled = ov.subtract(ov.multiply(ov.convert(colours, np.float32), number(1 / 127.5)), number(1))
        x = blocks(ov.relu(convolution(ov.concat([scaled, geometry], 1), "stem")), "before")
        y = blocks(ov.relu(convolution(x, "down", 2)), "middle")
        z = blocks(ov.relu(convolution(y, "deeper", 2)), "bottom")
        y = blocks(ov.add(y, ov.depth_to_space(convolution(z, "rise"), "depth_first", 2)), "late")
        x = blocks(ov.add(x, ov.depth_to_space(convolution(y, "up"), "depth_first", 2)), "after")
        colour = ov.multiply(convolution(x, "colour"), number(127.5))
        flow = ov.multiply(convolution(x, "flow"), number(FLOW_SCALE))
    except KeyError as error:
        raise HeadwireError(f"the weights of light hold no {error}: install headwire again") from error
    return openvino.Model([ov.result(colour), ov.result(flow)], [colours, geometry], "light")


def gmac(tensors: Tensors) -> float:
    """Multiplications of one frame, 1e9."""
    parts = {"down": 2, "middle": 2, "late": 2, "up": 2, "deeper": 4, "bottom": 4, "rise": 4}
    kernels = {name: weight for name, weight in tensors.items() if weight.ndim == 4}
    return sum(weight.size * (CELLS // parts.get(name.split(".")[0], 1)) ** 2 for name, weight in kernels.items()) / 1e9
