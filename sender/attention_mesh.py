"""FaceMesh with attention (478 points) as OpenVINO runs it.

OpenVINO reads ``.tflite`` but does not know three operations that MediaPipe added to it, all of them small: which part of the
feature map shows the lips or an eye, cutting that part out, and putting the points found there back. They are written here
in OpenVINO's own operations. Their constants are read from the file, whose layout is TensorFlow Lite's schema.
"""

from __future__ import annotations

import importlib.util
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError

SIDE = 192
"""Side of the network's picture."""
OUTPUTS = ("output_mesh_identity", "output_lips", "output_left_eye", "output_right_eye", "output_left_iris",
           "output_right_iris", "conv_faceflag")  # fmt: skip


@dataclass(frozen=True)
class Region:
    """One attention region, as the file has it. subset: points that it must hold; left, right: made level;
    size: of the cut, feature pixels; grow: by how much larger than the points' box."""

    subset: tuple[int, ...]
    left: int
    right: int
    size: int
    grow: tuple[float, float]


def mediapipe_folder() -> Path:
    """Where the installed package mediapipe keeps its networks, without importing it. Raises HeadwireError."""
    loaded = sys.modules.get("mediapipe")
    paths = list(getattr(loaded, "__path__", []))
    if not paths:
        spec = importlib.util.find_spec("mediapipe")
        paths = list(spec.submodule_search_locations or []) if spec else []
    if not paths:
        raise HeadwireError("the package mediapipe is missing: run 'make setup'")
    return Path(paths[0]) / "modules"


def regions(model: bytes) -> dict[str, Region]:
    """Name of the points' tensor -> region, of each Landmarks2TransformMatrix in a ``.tflite`` file.

    Raises HeadwireError if it is not such a file.
    """
    import flatbuffers  # type: ignore[import-untyped]
    from flatbuffers import flexbuffers

    def table(position: int) -> Any:
        return flatbuffers.table.Table(model, position)

    def vector(of: Any, number: int) -> list[int]:
        offset = of.Offset(4 + 2 * number)
        if not offset:
            return []
        start = of.Vector(offset)
        return [of.Indirect(start + 4 * i) for i in range(of.VectorLen(offset))]

    def numbers(of: Any, number: int, kind: str) -> Any:
        offset = of.Offset(4 + 2 * number)
        if not offset:
            return np.zeros(0, kind)
        return np.frombuffer(model, kind, of.VectorLen(offset), of.Vector(offset))

    def text(of: Any, number: int) -> str:
        offset = of.Offset(4 + 2 * number)
        return bytes(of.String(offset + of.Pos)).decode() if offset else ""

    try:
        root = table(int.from_bytes(model[:4], "little"))
        codes = [text(table(position), 1) for position in vector(root, 1)]
        graph = table(vector(root, 2)[0])
        tensors = [text(table(position), 3) for position in vector(graph, 0)]
        out = {}
        for position in vector(graph, 3):
            operator = table(position)
            offset = operator.Offset(4)
            code = operator.Get(flatbuffers.number_types.Uint32Flags, offset + operator.Pos) if offset else 0
            if codes[code] == "Landmarks2TransformMatrix":
                options: Any = flexbuffers.Loads(numbers(operator, 5, "u1").tobytes())
                out[tensors[numbers(operator, 1, "<i4")[0]]] = Region(
                    tuple(options["subset_idxs"]),
                    options["left_rotation_idx"],
                    options["right_rotation_idx"],
                    options["output_width"],
                    (options["scale_x"], options["scale_y"]),
                )
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise HeadwireError(f"the landmark network is not the file that was expected: {error}") from error
    return out


def read(core: Any, path: Path) -> Any:
    """The network as an ``openvino.Model``. Raises HeadwireError if the file is missing or is another one."""
    from openvino.frontend import ConversionExtension

    if not path.is_file():
        raise HeadwireError(f"the landmark network is not at {path}: install mediapipe==0.10.21")
    known = regions(path.read_bytes())

    def matrix(node: Any) -> list[Any]:
        points = node.get_input(0)
        names = {points.get_node().get_friendly_name(), *points.get_names()}
        region = next((value for name, value in known.items() if name in names), None)
        if region is None:
            raise HeadwireError("the landmark network's regions have other names than expected")
        return [_region_matrix(points, region).output(0)]

    def cut(node: Any) -> list[Any]:
        return [_cut(node.get_input(0), node.get_input(1), next(iter(known.values())).size).output(0)]

    def back(node: Any) -> list[Any]:
        return [_put_back(node.get_input(0), node.get_input(1)).output(0)]

    for name, translate in (
        ("Landmarks2TransformMatrix", matrix),
        ("TransformTensorBilinear", cut),
        ("TransformLandmarks", back),
    ):
        core.add_extension(ConversionExtension(name, translate))
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        raise HeadwireError(f"OpenVINO cannot read {path.name}: {str(error).splitlines()[-1]}") from error


def _region_matrix(points: Any, region: Region) -> Any:
    """(1, 468, 3) -> (1, 4, 4): pixel of the cut -> pixel of the feature map, a box around the subset, levelled."""
    import openvino.opset13 as ops

    flat = ops.gather(ops.squeeze(points, np.array([0])), np.array([0, 1]), np.array(1))
    ends = ops.gather(flat, np.array([region.right, region.left]), np.array(0))
    right, left = ops.split(ends, np.array(0), 2).outputs()
    along = ops.subtract(right, left)
    length = ops.sqrt(ops.reduce_sum(ops.multiply(along, along), np.array([1]), True))
    u = ops.divide(along, ops.maximum(length, np.float32(1e-6)))
    v = ops.matmul(u, np.array([[0.0, 1.0], [-1.0, 0.0]], np.float32), False, False)
    axes = ops.concat([u, v], 0)
    chosen = ops.gather(flat, np.array(region.subset), np.array(0))
    turned = ops.matmul(chosen, axes, False, True)
    low, high = ops.reduce_min(turned, np.array([0]), True), ops.reduce_max(turned, np.array([0]), True)
    middle = ops.matmul(ops.multiply(ops.add(low, high), np.float32(0.5)), axes, False, False)
    step = ops.multiply(ops.subtract(high, low), (np.array([region.grow], np.float32) / region.size).astype(np.float32))
    # columns of the map: u and v, each as long as a pixel of the cut
    scaled = ops.multiply(axes, ops.transpose(step, np.array([1, 0])))
    corner = ops.subtract(
        middle, ops.multiply(ops.reduce_sum(scaled, np.array([0]), True), np.float32(region.size / 2))
    )
    rows = ops.concat([scaled, ops.constant(np.zeros((1, 2), np.float32)), corner], 0)
    rest = ops.constant(np.array([[0, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    return ops.unsqueeze(ops.concat([ops.transpose(rows, np.array([1, 0])), rest], 0), np.array(0))


def _cut(features: Any, matrix: Any, size: int) -> Any:
    """(1, H, W, C), (1, 4, 4) -> (1, size, size, C): bilinear between the centres of
    pixels, the border repeated."""
    import openvino.opset13 as ops

    height, width = (int(n.get_length()) for n in list(features.get_partial_shape())[1:3])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + np.float32(0.5)
    grid = np.stack((x.ravel(), y.ravel(), np.zeros(size * size), np.ones(size * size)), 1).astype(np.float32)
    rows = ops.gather(ops.squeeze(matrix, np.array([0])), np.array([0, 1]), np.array(0))
    where = ops.matmul(grid, rows, False, True)
    unit = ops.subtract(ops.multiply(where, np.array([[2.0 / width, 2.0 / height]], np.float32)), np.float32(1.0))
    shaped = ops.reshape(unit, np.array([1, size, size, 2]), False)
    planes = ops.transpose(features, np.array([0, 3, 1, 2]))
    found = ops.grid_sample(planes, shaped, {"align_corners": False, "mode": "bilinear", "padding_mode": "border"})
    return ops.transpose(found, np.array([0, 2, 3, 1]))


def _put_back(points: Any, matrix: Any) -> Any:
    """(1, P, 2), (1, 4, 4) -> (1, P, 2): through the matrix."""
    import openvino.opset13 as ops

    rows = ops.gather(ops.squeeze(matrix, np.array([0])), np.array([0, 1]), np.array(0))
    turn = ops.gather(rows, np.array([0, 1]), np.array(1))
    shift = ops.transpose(ops.gather(rows, np.array([3]), np.array(1)), np.array([1, 0]))
    moved = ops.add(ops.matmul(ops.squeeze(points, np.array([0])), turn, False, True), shift)
    return ops.unsqueeze(moved, np.array(0))
