"""From a run to files that can be shipped: safetensors (fp32, fp16, int8 by output channel), OpenVINO for CPUs.

A safetensors file carries its description and its provenance in its metadata; ``models.headgan.load`` reads all three
kinds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.audio_features import AHEAD
from codec.errors import HeadwireError, UsageError
from codec.parameters import SIZE
from models import headgan
from models.headgan import FORMAT, HeadGANConfig
from models.headgan_networks import HeadGANNet
from training import checkpoints
from training.options import parsed
from training.pairs import PairSettings, PairSource
from training.pairs_store import open_store

LICENCE = "weights learned from research-only, non-commercial clips: not for commercial use"
KINDS = ("fp32", "fp16", "int8")


def export(run: Path, target: Path, kind: str = "fp16", provenance: dict[str, Any] | None = None) -> Path:
    """The averaged weights of a run as a safetensors file.

    Raises UsageError where the run has no checkpoint or the kind is unknown, HeadwireError where it is no HeadGAN.
    """
    state = checkpoints.load(run)
    if state is None:
        raise UsageError(f"no checkpoint in {run}: train with `headwire train headgan` first")
    said = checkpoints.description(state)
    if said.get("network") != "headgan":
        raise HeadwireError(f"{run} is a run of {said.get('network')}, not of headgan")
    if said["sketches"]:
        raise UsageError(f"{run} learned from landmark sketches, which no call makes: train with --no-sketches")
    net = HeadGANNet(HeadGANConfig(said["width"], said["audio"], said["flow"], said.get("ahead", AHEAD)))
    net.load_state_dict(state["averages"]["generator"])
    figures = run / "figures.json"
    notes: dict[str, Any] = {"steps": state["step"], "run": said, "licence": LICENCE}
    if figures.is_file():
        notes["figures"] = json.loads(figures.read_text(encoding="utf-8"))
    return export_net(net, target, kind, notes | (provenance or {}))


def export_net(net: HeadGANNet, target: Path, kind: str, provenance: dict[str, Any]) -> Path:
    """A network as a safetensors file, written whole or not at all."""
    if kind not in KINDS:
        raise UsageError(f"weights cannot be exported as {kind!r}: choose one of {', '.join(KINDS)}")
    tensors: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        value = value.detach().float().cpu()
        if kind == "int8" and value.dim() >= 2:
            tensors[name], tensors[f"{name}.scale"] = quantised(value)
        else:
            tensors[name] = (value if kind == "fp32" else value.half()).contiguous()
    notes = {
        "format": FORMAT,
        "config": json.dumps(asdict(net.config)),
        "kind": kind,
        "provenance": json.dumps(provenance, default=str),
    }
    return written(tensors, target, notes)


def written(tensors: dict[str, Tensor], target: Path, notes: dict[str, str]) -> Path:
    """Tensors and metadata as a safetensors file, whole or not at all; returns ``target``."""
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, str(partial), notes)
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, ...) -> int8 weights and one float32 scale per output channel: ``weight = int8 * scale``."""
    scale = (weight.flatten(1).abs().amax(1) / 127).clamp(min=1e-12)
    shape = (-1, *[1] * (weight.dim() - 1))
    return (weight / scale.view(shape)).round().clamp(-127, 127).to(torch.int8), scale


class _Encode(nn.Module):
    def __init__(self, net: HeadGANNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded = self.net.encode(picture, code)
        return encoded.fine, encoded.middle, encoded.coarse


class _Paint(nn.Module):
    def __init__(self, net: HeadGANNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, picture: Tensor, fine: Tensor, middle: Tensor, coarse: Tensor, window: Tensor, audio: Tensor
    ) -> Tensor:
        from models.headgan_networks import Encoded

        heard = audio if self.net.config.audio else None
        return self.net.paint(Encoded(picture, fine, middle, coarse), window, heard).picture


Zeros = Callable[..., Tensor]
Traced = tuple[nn.Module, tuple[Tensor, ...]]


def paths(net: HeadGANNet, zeros: Zeros) -> tuple[Traced, Traced]:
    """What runs once per reference and what runs per frame, each with inputs to trace it with. zeros: (C, ...) -> (1, C, ...)."""
    picture, code = zeros(3, SIZE, SIZE), zeros(3, SIZE, SIZE)
    with torch.no_grad():
        encoded = net.encode(picture, code)
    audio, window = zeros(max(1, net.config.audio)), zeros(9, SIZE, SIZE)
    features = tuple(x.clone() for x in (encoded.picture, encoded.fine, encoded.middle, encoded.coarse))
    return (_Encode(net), (picture, code)), (_Paint(net), (*features, window, audio))


def export_openvino(
    weights: Path, folder: Path, compress: bool = True, calibration: PairSource | None = None, samples: int = 100
) -> Path:
    """The network as two OpenVINO models, ``encode`` (once per reference) and ``paint`` (per frame), static shapes.

    compress: weights as fp16 in the file. calibration: pairs to calibrate an int8 ``paint`` with (NNCF), ``samples`` of
    them. Raises UsageError where OpenVINO, or NNCF for int8, is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError("exporting for CPUs needs openvino: pip install openvino") from error
    net = headgan.load(weights)
    folder.mkdir(parents=True, exist_ok=True)
    traced = paths(net, lambda *shape: torch.zeros(1, *shape))
    for name, (module, example) in zip(("encode", "paint"), traced, strict=True):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(module.eval(), example_input=example, input=[x.shape for x in example])
        if name == "paint" and calibration is not None:
            model = _int8(model, net, calibration, samples)
        openvino.save_model(model, str(folder / f"{name}.xml"), compress_to_fp16=compress)
    (folder / "config.json").write_text(json.dumps(asdict(net.config)) + "\n", encoding="utf-8")
    return folder


def _int8(model: Any, net: HeadGANNet, calibration: PairSource, samples: int) -> Any:
    """Quantise weights and activations after training, calibrated on real pairs."""
    try:
        nncf: Any = importlib.import_module("nncf")
    except ImportError as error:
        raise UsageError("an int8 export needs nncf: pip install nncf") from error

    def inputs(step: int) -> list[Any]:
        batch = calibration.batch(step, [0])
        with torch.inference_mode():
            e = net.encode(batch.references[:, 0], batch.reference_codes[:, 0])
        heard = batch.audio if batch.audio is not None else torch.zeros(1, max(1, net.config.audio))
        parts = (e.picture, e.fine, e.middle, e.coarse, batch.window, heard)
        return [part.numpy() for part in parts[: len(model.inputs)]]

    nncf.set_log_level("ERROR")
    return nncf.quantize(model, nncf.Dataset(range(samples), inputs), subset_size=samples)


@dataclass(frozen=True)
class ExportSettings:
    """run: the folder of a run. target: the safetensors file. kind: fp32, fp16 or int8. openvino: a folder, to export
    for CPUs as well; openvino_int8: calibrated on ``store``'s pairs.
    """

    run: Path
    target: Path
    kind: str = "fp16"
    openvino: Path | None = None
    openvino_int8: bool = False
    store: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.export``."""
    (said,) = parsed("Export a run's averaged weights.", (ExportSettings,), arguments)
    try:
        print(export(said.run, said.target, said.kind))
        if said.openvino is not None:
            how = PairSettings(audio=bool(headgan.load(said.target).config.audio))
            pairs = PairSource(open_store(said.store), how) if said.openvino_int8 else None
            print(export_openvino(said.target, said.openvino, calibration=pairs))
    except HeadwireError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
