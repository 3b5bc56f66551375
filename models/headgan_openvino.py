"""``headgan`` on a CPU through OpenVINO: the two models that ``training.export.export_openvino`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats, Picture
from models import inference
from models.headgan import HeadGAN, HeadGANConfig


class OpenVinoPainter:
    """``models.headgan_runtime.Painter`` without torch. Raises HeadwireError where the models do not load."""

    def __init__(self, folder: Path, threads: int = 1, half: bool = False) -> None:
        core = inference.core()
        precision = "bf16" if half else "f32"
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self._encode, self._paint = (
                core.compile_model(str(folder / f"{name}.xml"), "CPU", settings).create_infer_request()
                for name in ("encode", "paint")
            )
        except RuntimeError as error:
            raise HeadwireError(f"the models in {folder} do not load: export them again") from error

    def encode(self, picture: Picture, code: Floats) -> tuple[Floats, ...]:
        """Reference picture and PNCC -> the picture and the three feature maps."""
        y = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / np.float32(127.5) - np.float32(1)
        results = self._encode.infer([y, np.ascontiguousarray(code.transpose(2, 0, 1)[None])])
        return y, *(np.array(result) for result in results.values())

    def paint(self, reference: tuple[Floats, ...], window: Floats, audio: Floats) -> Picture:
        """As ``Painter.paint``."""
        heard = audio[None] if len(audio) else np.zeros((1, 1), np.float32)
        inputs = [*reference, np.ascontiguousarray(window.transpose(2, 0, 1)[None]), heard]
        # The converter drops the audio input of a network without.
        out: Any = self._paint.infer(inputs[: len(self._paint.model_inputs)])[0]
        return np.ascontiguousarray(np.rint((out[0] + 1) * 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


class HeadGANOpenVino(HeadGAN):
    """``HeadGAN`` from a folder of OpenVINO models. threads, half (bfloat16): see OpenVINO.

    Raises UsageError where the folder holds none.
    """

    def __init__(self, face_model: Any, folder: Path, threads: int = 1, half: bool = False) -> None:
        about = folder / "config.json"
        if not about.is_file():
            raise UsageError(f"no OpenVINO models of headgan in {folder}: export them (docs/training.md)")
        config = HeadGANConfig(**json.loads(about.read_text(encoding="utf-8")))
        self._begin(face_model, OpenVinoPainter(folder, threads, half), config)
