"""``full``'s network for OpenVINO, built from its safetensors file; ``models.full_network`` is the same in torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from codec.errors import HeadwireError
from models.full_config import FLOW_SCALE, FullConfig
from models.light_inputs import CELL, CELLS, COLOURS, GEOMETRY
from models.weights_file import Tensors


def build(tensors: Tensors, config: FullConfig) -> Any:
    """openvino.Model: (1, 48 (1 + K), 64, 64) uint8, (1, 12, 64, 64) float32 and, where it hears, (1, 300) float32 -> residual
    colours (1, 48, 64, 64), 0..255's scale, flow (1, 2, 64, 64), pixels, and shares (1, K, 256, 256) where K is not 0.

    Raises HeadwireError where a tensor is missing or of another size.
    """
    import openvino
    from openvino import opset13 as ov

    pictures = 1 + config.others
    colours = ov.parameter([1, COLOURS * pictures, CELLS, CELLS], np.uint8, name="colours")
    geometry = ov.parameter([1, GEOMETRY, CELLS, CELLS], np.float32, name="geometry")
    audio = ov.parameter([1, config.audio], np.float32, name="audio") if config.audio else None

    def number(value: float) -> Any:
        return ov.constant(np.float32(value))

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        pad = [weight.shape[2] // 2] * 2
        y = ov.convolution(x, ov.constant(weight), [stride] * 2, pad, pad, [1, 1])
        return ov.add(y, ov.constant(bias.reshape(1, -1, 1, 1)))

    def blocks(x: Any, name: str, count: int) -> Any:
        for n in range(count):
            inner = ov.relu(convolution(x, f"{name}.{n}.first"))
            x = ov.add(x, convolution(inner, f"{name}.{n}.second"))
        return x

    def heard(y: Any) -> Any:
        weight, bias = tensors["hear.weight"], tensors["hear.bias"]
        both = ov.add(ov.matmul(audio, ov.constant(weight), False, True), ov.constant(bias[None]))
        both = ov.reshape(both, ov.constant(np.array((1, -1, 1, 1), np.int64)), False)
        scale, shift = ov.split(both, ov.constant(np.int64(1)), 2).outputs()
        return ov.add(ov.multiply(y, ov.add(scale, number(1))), shift)

    try:
        scaled = ov.subtract(ov.multiply(ov.convert(colours, np.float32), number(1 / 127.5)), number(1))
        x = blocks(ov.relu(convolution(ov.concat([scaled, geometry], 1), "stem")), "before", config.blocks)
        y = ov.relu(convolution(x, "down", 2))
        y = blocks(y if audio is None else heard(y), "middle", config.middle)
        x = ov.add(x, ov.depth_to_space(convolution(y, "up"), "depth_first", 2))
        x = blocks(x, "after", config.blocks)
        results = [
            ov.multiply(convolution(x, "colour"), number(127.5)),
            ov.multiply(convolution(x, "flow"), number(FLOW_SCALE)),
        ]
        if config.others:
            results.append(ov.depth_to_space(convolution(x, "share"), "depth_first", CELL))
    except (KeyError, RuntimeError) as error:
        raise HeadwireError(f"the weights of full do not fit their description ({error}): export them again") from error
    inputs = [colours, geometry] if audio is None else [colours, geometry, audio]
    return openvino.Model([ov.result(x) for x in results], inputs, "full")


def gmac(tensors: Tensors) -> float:
    """Multiplications of one frame, 1e9."""
    total = 0.0
    for name, weight in tensors.items():
        if weight.ndim == 4:
            at_half = name.startswith(("down", "middle", "up"))
            total += weight.size * (CELLS // 2 if at_half else CELLS) ** 2
    return total / 1e9
