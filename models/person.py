"""Which of a picture's pixels show the person: MediaPipe's selfie segmentation (0.25 MB, in its wheel), run by OpenVINO.

OpenVINO reads the file but for one operation, a transposed convolution with a bias, which is written here in its own. The mask is
that of MediaPipe's own runtime to 1/40,000. 3.7 ms a picture on one core.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError
from codec.parameters import SIZE, Floats, Picture
from models import inference

FILE = Path("modules") / "selfie_segmentation" / "selfie_segmentation.tflite"


class PersonFinder:
    """Pictures -> masks. Not thread-safe: each thread has its own.

    Raises HeadwireError where the packages mediapipe or openvino are missing.
    """

    def __init__(self) -> None:
        self._request = _compiled().create_infer_request()

    def mask(self, picture: Picture) -> Floats:
        """(256, 256) float32: 1 person, 0 background."""
        self._request.infer([picture.astype(np.float32)[None] / np.float32(255)])
        return np.array(self._request.get_output_tensor(0).data, np.float32).reshape(SIZE, SIZE)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    return inference.core().compile_model(_network(), "CPU", settings)


def _network() -> Any:
    core = inference.core()
    from openvino.frontend import ConversionExtension

    # Found without being imported; where it is already, it may be there in part and without a specification.
    folders = list(getattr(sys.modules.get("mediapipe"), "__path__", []))
    if not folders:
        spec = importlib.util.find_spec("mediapipe")
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
    path = next((p for p in (Path(folder) / FILE for folder in folders) if p.is_file()), None)
    if path is None:
        raise HeadwireError("the network that finds the person is missing: install mediapipe==0.10.21 ('make setup')")
    core.add_extension(ConversionExtension("Convolution2DTransposeBias", _twice_as_large))
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        raise HeadwireError(f"OpenVINO cannot read {path.name}: {str(error).splitlines()[-1]}") from error


def _twice_as_large(node: Any) -> list[Any]:
    """A transposed 2x2 convolution of stride 2, (1, H, W, C) by (O, 2, 2, C), and a bias."""
    import openvino.opset13 as ops

    features, kernel, bias = (node.get_input(i) for i in range(3))
    planes = ops.transpose(features, np.array([0, 3, 1, 2]))
    turned = ops.transpose(kernel, np.array([3, 0, 1, 2]))
    none, two, one = np.array([0, 0]), np.array([2, 2]), np.array([1, 1])
    out = ops.convolution_backprop_data(planes, turned, two, None, none, none, one)
    return [ops.add(ops.transpose(out, np.array([0, 2, 3, 1])), bias).output(0)]
