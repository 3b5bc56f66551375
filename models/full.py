"""``full``: what ``warp`` paints, corrected by a network that also sees further photos and hears. No weights are shipped.

192 channels at 64x64 and 320 at 32x32, two further photos, h_audio: ``headwire train full`` trains it. A GPU runs it through
torch, a CPU through OpenVINO. Photos that the memory does not hold are ``warp``'s picture again, and without sound it hears silence.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.motion_grid import UNIT
from codec.parameters import SIZE, Floats, Picture, Region
from models import inference, weights_file
from models.full_config import FORMAT, FullConfig, check, described
from models.full_graph import build
from models.generator import DrivingFrame
from models.light_inputs import CELL, Geometry, in_cells
from models.warp import FARTHEST, FaceMesh, Warp

WEIGHTS = Path(__file__).with_name("weights") / "full.safetensors"


class FullPainter(Protocol):
    """Runs the network, on whatever device."""

    def paint(self, shown: Picture, others: NDArray[np.uint8], geometry: Floats, audio: Floats) -> Picture:
        """(256, 256, 3), (K, 256, 256, 3), (12, 64, 64), (300,) -> (256, 256, 3) uint8."""


class OpenVinoPainter:
    """On a CPU. precision: ``auto`` (bf16 where the CPU has it), ``f32`` or ``bf16``."""

    def __init__(
        self, tensors: weights_file.Tensors, config: FullConfig, precision: str = "auto", threads: int = 1
    ) -> None:
        core = inference.core()
        if precision == "auto":
            precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._config = config
        self._request = core.compile_model(build(tensors, config), "CPU", settings).create_infer_request()

    def paint(self, shown: Picture, others: NDArray[np.uint8], geometry: Floats, audio: Floats) -> Picture:
        """As ``FullPainter`` has it."""
        import cv2

        cells = np.concatenate([in_cells(picture) for picture in (shown, *others)])
        self._request.infer([cells[None], geometry[None], *([audio[None]] if self._config.audio else [])])
        colours, flow = (self._request.get_output_tensor(n).data[0] for n in (0, 1))
        size = (SIZE, SIZE)
        place: Any = cv2.resize(np.ascontiguousarray(flow.transpose(1, 2, 0)), size, interpolation=cv2.INTER_LINEAR)
        place += np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)
        moved: Any = cv2.remap(shown, place, np.empty(0), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        shares = self._request.get_output_tensor(2).data[0] if len(others) else np.zeros((0, *size), np.float32)
        out = np.empty((*size, 3), np.uint8)
        _compose(np.asarray(moved, np.uint8), others, shares, colours, out)
        return out


class TorchPainter:
    """On a GPU, or anywhere for comparison. half: float16, bfloat16 on a CPU; None is yes on CUDA."""

    def __init__(
        self, tensors: weights_file.Tensors, config: FullConfig, device: str, half: bool | None = None
    ) -> None:
        import torch

        from models.full_network import FullNet

        self._device = torch.device(device)
        half = self._device.type == "cuda" if half is None else half
        kind = torch.float16 if self._device.type == "cuda" else torch.bfloat16
        self._kind = kind if half else torch.float32
        net = FullNet(config)
        try:
            net.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        except RuntimeError as error:
            raise UsageError("the weights of full do not fit their description: export them again") from error
        layout: Any = {"memory_format": torch.channels_last}
        self._net = net.eval().to(self._device, self._kind).to(**layout)

    def paint(self, shown: Picture, others: NDArray[np.uint8], geometry: Floats, audio: Floats) -> Picture:
        """As ``FullPainter`` has it."""
        import torch

        from models.full_network import painted

        with torch.inference_mode():
            stack = torch.from_numpy(np.concatenate((shown[None], others))).to(self._device)
            pictures = stack.permute(0, 3, 1, 2).to(self._kind) / 127.5 - 1
            x, more = pictures[:1], pictures[None, 1:]
            mesh, voice = (torch.from_numpy(a[None]).to(self._device, self._kind) for a in (geometry, audio))
            out = painted(x, more, self._net(x, more, mesh, voice))
            out = ((out[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
            return np.ascontiguousarray(out.cpu().numpy())


class Full(Warp):
    """``warp`` and the network on top. weights: a file of ``training.full_export``. precision, threads: of OpenVINO. device: ``cpu``,
    ``cuda``, or ``auto``: CUDA where it is. Raises UsageError where weights or device are not there, HeadwireError for a damaged file.
    """

    name = "full"

    def __init__(
        self,
        face_model: FaceMesh,
        weights: Path = WEIGHTS,
        precision: str = "auto",
        threads: int = 1,
        device: str = "auto",
    ) -> None:
        if not weights.is_file():
            raise UsageError(f"no full weights at {weights}: train them with `headwire train full` (docs/training.md)")
        super().__init__(face_model)
        tensors, notes = weights_file.read(weights, FORMAT, "full")
        self.config = described(notes, weights)
        check({name: value.shape for name, value in tensors.items()}, self.config, weights)
        self.device = chosen_device(device)
        self.painter: FullPainter
        if self.device == "cpu":
            self.painter = OpenVinoPainter(tensors, self.config, precision, threads)
        else:
            self.painter = TorchPainter(tensors, self.config, self.device)
        self.ahead = self.config.ahead if self.config.audio else None
        self._silence = _silence() if self.config.audio else np.zeros(0, np.float32)
        self.audio: Floats = self._silence
        self._geometry = Geometry(face_model)  # type: ignore[arg-type]

    def listen(self, features: Floats) -> None:
        """h_audio of the next frame, (300,), from ``receiver.hearing``. Until then a network with audio hears silence."""
        self.audio = np.asarray(features, np.float32)

    def forget(self) -> None:
        super().forget()
        self.audio = self._silence

    def generate(self, frame: DrivingFrame) -> Picture:
        picture = super().generate(frame)
        vertices = np.ascontiguousarray(frame.vertices, np.float32)
        if not bool((np.abs(vertices) < FARTHEST).all()):
            return picture
        geometry = geometry_of(self._geometry, self, frame)
        return self.painter.paint(
            picture, other_pictures(self, frame, picture, self.config.others), geometry, self.audio
        )


def geometry_of(geometry: Geometry, warp: Warp, frame: DrivingFrame) -> Floats:
    """(12, 64, 64) float32 of a frame as ``warp`` paints it."""
    field = frame.motion
    control = None if field is None else (field.control * (field.weight / UNIT)).astype(np.float32)
    vertices = np.ascontiguousarray(frame.vertices, np.float32)
    return geometry(frame.visibility, vertices, warp.source(frame).vertices, control)


def other_pictures(warp: Warp, frame: DrivingFrame, picture: Picture, count: int) -> NDArray[np.uint8]:
    """(count, 256, 256, 3): the frame from the whole photos nearest to it in pose and expression, but the one that it is painted
    from; ``picture`` again where there are not so many.
    """
    source = warp.source(frame)
    rest = [p for p in warp.photos.values() if p is not source and p.reference.region is Region.WHOLE]
    rest.sort(key=lambda photo: float(np.abs(photo.vertices[:, :2] - frame.vertices[:, :2]).mean()))
    still = replace(frame, motion=None)
    found = [warp.shown(still, photo) for photo in rest[:count]]
    found += [picture] * (count - len(found))
    return np.stack(found) if found else np.zeros((0, SIZE, SIZE, 3), np.uint8)


def chosen_device(device: str) -> str:
    """``cpu`` or ``cuda``. Raises UsageError for another one, or where CUDA is asked for and is not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {device!r}: choose auto, cpu or cuda")
    if device == "cpu" or (device == "auto" and find_spec("torch") is None):
        return "cpu"
    try:
        import torch
    except ImportError as error:
        raise UsageError("CUDA needs torch: pip install 'headwire[train]'") from error
    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("there is no CUDA device here: use the CPU")
    return "cpu"


def _silence() -> Floats:
    from models.characters import CharacterNet

    return CharacterNet().mix.silence()


@numba.njit(cache=True, nogil=True, fastmath=True)
def _compose(moved, others, shares, colours, out):  # type: ignore[no-untyped-def]
    """moved + shares of (others - moved) + (48, 64, 64) residual colours of cells, into ``out``."""
    for j in range(moved.shape[0]):
        for i in range(moved.shape[1]):
            first = ((j % CELL) * CELL + i % CELL) * 3
            for k in range(3):
                base = np.float32(moved[j, i, k])
                value = base + colours[first + k, j // CELL, i // CELL]
                for n in range(others.shape[0]):
                    value += shares[n, j, i] * (np.float32(others[n, j, i, k]) - base)
                out[j, i, k] = np.uint8(min(max(value + np.float32(0.5), np.float32(0)), np.float32(255)))
