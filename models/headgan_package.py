"""``headgan`` from the packages that ``training.export_package`` compiles: torch runs them without compiling anything.

A package is machine code of the kind of device that it was made for: run none that a stranger gives you.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats, Picture
from models.headgan import HeadGAN, HeadGANConfig
from models.headgan_runtime import to_picture, to_tensor

ABOUT = "package.json"
NAMES = ("encode", "paint")


@dataclass(frozen=True)
class Package:
    """What a folder says of itself. config: ``HeadGANConfig``'s fields. kind: of its numbers, as torch has it. torch: the version."""

    config: dict[str, Any]
    device: str
    kind: str
    torch: str


class PackagePainter:
    """``models.headgan_runtime.Painter`` on compiled packages. Raises UsageError where there are none or their device is not here,
    HeadwireError where they do not load.
    """

    def __init__(self, folder: Path) -> None:
        about = _about(folder)
        if about.device == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"{folder} was compiled for CUDA, which is not here: compile it again with --device cpu")
        self.config = HeadGANConfig(**about.config)
        self.device, self.dtype = torch.device(about.device), getattr(torch, about.kind)
        try:
            self._encode, self._paint = (_load(folder / f"{name}.pt2") for name in NAMES)
        except (RuntimeError, OSError, KeyError) as error:
            raise HeadwireError(
                f"the packages in {folder} do not load with torch {torch.__version__} (made with {about.torch}): compile them again"
            ) from error

    def _ready(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, picture: Picture, code: Floats) -> tuple[Tensor, ...]:
        """As ``Painter.encode``: the picture and the three feature maps."""
        y = self._ready(to_tensor(picture, self.device))
        return y, *self._encode(y, self._ready(torch.from_numpy(code).permute(2, 0, 1)[None]))

    @torch.inference_mode()
    def paint(self, reference: tuple[Tensor, ...], window: Floats, audio: Floats) -> Picture:
        """As ``Painter.paint``."""
        x = self._ready(torch.from_numpy(window).permute(2, 0, 1)[None])
        heard = torch.from_numpy(audio)[None] if len(audio) else torch.zeros(1, 1)
        return to_picture(self._paint(*reference, x, heard.to(self.device, self.dtype)))


class HeadGANPackage(HeadGAN):
    """``HeadGAN`` from a folder of packages. Raises as ``PackagePainter`` does."""

    def __init__(self, face_model: Any, folder: Path) -> None:
        painter = PackagePainter(folder)
        self._begin(face_model, painter, painter.config)


def _about(folder: Path) -> Package:
    path = folder / ABOUT
    if not path.is_file():
        raise UsageError(f"no packages of headgan in {folder}: compile them (docs/training.md)")
    try:
        about = Package(**json.loads(path.read_text(encoding="utf-8")))
        HeadGANConfig(**about.config)
        known = about.kind in ("float32", "float16", "bfloat16") and about.device in ("cpu", "cuda")
    except (ValueError, TypeError) as error:
        raise HeadwireError(f"{path} does not describe packages of headgan: compile them again") from error
    if not known:
        raise HeadwireError(f"{path} describes packages that cannot be: compile them again")
    return about


def _load(path: Path) -> Any:
    inductor: Any = torch._inductor
    return inductor.aoti_load_package(str(path))
