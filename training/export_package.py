"""``headgan`` compiled ahead of time (AOTInductor): two packages of machine code for one kind of device, that torch runs without
compiling anything.

``python -m training.export_package --weights headgan.safetensors --folder headgan-cuda --device cuda`` on the GPU that will run it;
``models.headgan_package`` paints with what comes out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import HeadwireError, UsageError
from codec.parameters import SIZE
from models import headgan
from models.headgan_networks import HeadGANNet
from models.headgan_package import ABOUT, NAMES, Package
from training.export import paths
from training.options import program


@dataclass(frozen=True)
class PackageSettings:
    """weights: a file of ``training.export``. folder: where to. device: cpu or cuda. half: float16, bfloat16 on a CPU; None is yes on
    CUDA.
    """

    weights: Path
    folder: Path
    device: str = "cuda"
    half: bool | None = None


def export_packages(net: HeadGANNet, folder: Path, device: str, half: bool | None = None) -> Path:
    """``encode.pt2`` (once per reference) and ``paint.pt2`` (per frame), static shapes, and what they are.

    Raises UsageError where the device or a C++ compiler is not there, HeadwireError where the network cannot be compiled.
    """
    if device not in ("cpu", "cuda"):
        raise UsageError(f"there is no device {device!r}: choose cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here: compile where the network will run, or use --device cpu")
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise UsageError("compiling ahead of time needs a C++ compiler: apt install g++")
    half = device == "cuda" if half is None else half
    kind = (torch.float16 if device == "cuda" else torch.bfloat16) if half else torch.float32
    layout: Any = {"memory_format": torch.channels_last}
    net = net.to(device, kind).to(**layout).eval()
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name, (module, example) in zip(NAMES, paths(net, _zeros(device, kind)), strict=True):
            try:
                compiled = torch.export.export(module.eval(), example, strict=False)
                _compile(compiled, folder / f"{name}.pt2")
            except (RuntimeError, OSError) as error:
                raise HeadwireError(f"{name} cannot be compiled: {str(error).splitlines()[0]}") from error
    about = Package(asdict(net.config), device, str(kind).removeprefix("torch."), torch.__version__)
    (folder / ABOUT).write_text(json.dumps(asdict(about)) + "\n", encoding="utf-8")
    return folder


def _zeros(device: str, kind: torch.dtype) -> Any:
    def zeros(*shape: int) -> Tensor:
        out = torch.zeros(1, *shape, device=device, dtype=kind)
        return out.contiguous(memory_format=torch.channels_last) if out.dim() == 4 else out

    return zeros


def _compile(exported: Any, path: Path) -> None:
    inductor: Any = torch._inductor
    inductor.aoti_compile_and_package(exported, package_path=str(path))


def run(settings: PackageSettings) -> Path:
    """What ``python -m training.export_package`` does. Raises as ``models.headgan.load`` and ``export_packages`` do."""
    return export_packages(headgan.load(settings.weights), settings.folder, settings.device, settings.half)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile, and say where to."""
    program(f"Compile headgan ahead of time, for pictures of {SIZE}x{SIZE}.", PackageSettings, run, arguments)


if __name__ == "__main__":
    main()
