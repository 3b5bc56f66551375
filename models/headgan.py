"""``headgan``: the paper's own network (Tables 4 and 5, Figure 9) behind the generator interface, and its arithmetic.

    F: (y_ref, x_ref) -> features h1, h2, h3; with x_{t-2..t} -> flow
    R: x_{t-2..t}, warped features, h_audio -> y_t

What depends on the reference alone (F's encoder) is computed in ``prepare``. torch is imported when a network is made.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec import raster
from codec.audio_features import AHEAD, PARTS
from codec.errors import HeadwireError, UsageError
from codec.parameters import SIZE, Floats, Picture, ReferenceFrame
from models.generator import DrivingFrame, Generator

AUDIO = 300
FORMAT = "headwire-headgan-1"
HYSTERESIS = 0.75
"""Another photo takes over where its distance to the frame is below this share of the present one's."""


@dataclass(frozen=True)
class HeadGANConfig:
    """Which network.

    width: 1 is the paper's (32, 128, 512 channels, 128 hidden in SPADE); others scale all of them. audio: length of
    h_audio, 0 for the variant without AdaIN blocks. flow: False leaves out F's decoder and all warping. ahead: parts of
    40 ms that the h_audio it learned with looks ahead.
    """

    width: float = 1.0
    audio: int = 0
    flow: bool = True
    ahead: int = AHEAD

    @property
    def base(self) -> int:
        """Channels at full resolution."""
        return max(1, round(32 * self.width))

    @property
    def hidden(self) -> int:
        """Hidden channels of SPADE."""
        return 4 * self.base


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer: its name, parameters with bias, multiply-accumulates at 256x256 for one frame."""

    name: str
    parameters: int
    macs: int


def layers(config: HeadGANConfig) -> Iterator[Layer]:
    """Every layer with weights, by the tables. Names begin with ``reference`` where they run once per reference."""
    w, hidden = config.base, config.hidden

    def convolution(name: str, kernel: int, source: int, target: int, size: int) -> Layer:
        weights = kernel * kernel * source * target
        return Layer(name, weights + target, weights * size * size)

    def encoder(name: str, channels: int) -> Iterator[Layer]:
        yield convolution(f"{name}.7x7-{w}", 7, channels, w, SIZE)
        yield convolution(f"{name}.3x3-{4 * w}", 3, w, 4 * w, SIZE // 2)
        yield convolution(f"{name}.3x3-{16 * w}", 3, 4 * w, 16 * w, SIZE // 4)

    def spade(name: str, channels: int, condition: int, size: int) -> Iterator[Layer]:
        for n in range(2):
            yield convolution(f"{name}.{n}.hidden", 3, condition, hidden, size)
            yield convolution(f"{name}.{n}.modulation", 3, hidden, 2 * channels, size)
            yield convolution(f"{name}.{n}.convolution", 3, channels, channels, size)

    def adain(name: str, channels: int, size: int) -> Iterator[Layer]:
        for n in range(2):
            linear = 2 * channels * config.audio
            yield Layer(f"{name}.{n}.modulation", linear + 2 * channels, linear)
            yield convolution(f"{name}.{n}.convolution", 3, channels, channels, size)

    yield from encoder("reference.F", 6)
    if config.flow:
        for n in range(3):
            yield from spade(f"F.spade{n}", 16 * w, 9, SIZE // 4)
        yield from spade("F.spade3", 4 * w, 9, SIZE // 2)
        yield convolution("F.flow", 7, w, 2, SIZE)
    yield from encoder("R", 9)
    for n, (channels, size) in enumerate(((16 * w, SIZE // 4), (4 * w, SIZE // 2), (w, SIZE))):
        yield from spade(f"R.spade{n}", channels, channels, size)
        if config.audio:
            yield from adain(f"R.adain{n}", channels, size)
    yield from spade("R.spade3", w, 3, SIZE)
    yield convolution("R.colour", 7, w, 3, SIZE)


def parameters(config: HeadGANConfig) -> int:
    """Number of learned numbers."""
    return sum(layer.parameters for layer in layers(config))


def gmac(config: HeadGANConfig, reference: bool = False) -> float:
    """10^9 multiply-accumulates a frame, or once per reference."""
    return sum(x.macs for x in layers(config) if x.name.startswith("reference") == reference) / 1e9


class HeadGAN(Generator):
    """The paper's generator.

    face_model: as ``warp`` takes it, with ``mean``. weights: a safetensors file (``training.export``). device:
    ``cpu``, ``cuda``, or ``auto``: CUDA where it is. half: bfloat16 on a CPU, float16 on CUDA; None is yes on CUDA.
    Raises UsageError where torch or the file is missing, HeadwireError where the file is not HeadGAN's.

    With several photos in the memory, a frame is painted from the one nearest in pose and expression.
    """

    name = "headgan"

    def __init__(
        self, face_model: Any, weights: Path | str | None = None, device: str = "auto", half: bool | None = None
    ) -> None:
        self.net = load(weights, name=self.name)
        if device == "auto":
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        half = device.startswith("cuda") if half is None else half
        self._begin(face_model, self._painter(device, half), self.net.config)

    def _begin(self, face_model: Any, painter: Any, config: HeadGANConfig) -> None:
        self.face_model, self.painter = face_model, painter
        self.triangles = np.ascontiguousarray(face_model.triangles, np.int32)
        self.colours = raster.pncc_colours(face_model)
        self._silence: Floats = _silence() if config.audio else np.zeros(0, np.float32)
        self.audio = self._silence
        self.ahead = config.ahead if config.audio else None
        self._codes: deque[Floats] = deque(maxlen=3)
        self._photos: dict[int, tuple[Floats, Any]] = {}
        self._present: int | None = None

    def _painter(self, device: str, half: bool) -> Any:
        from models.headgan_runtime import Painter

        return Painter(self.net, device, half)

    def prepare(self, reference: ReferenceFrame) -> None:
        if set(self._photos) <= {reference.photo_id}:
            self._codes.clear()
        fit = reference.parameters
        shape = self.face_model.shape(reference.identity, fit.expression)
        vertices = np.ascontiguousarray(self.face_model.project(shape, fit.camera), np.float32)
        code = raster.pncc(raster.rasterise(vertices, self.triangles), self.colours)
        self._photos[reference.photo_id] = (vertices, self.painter.encode(reference.picture, code))
        if self._present is None:
            self._present = reference.photo_id

    def forget(self) -> None:
        """Empty the memory: another sender."""
        self._photos.clear()
        self._codes.clear()
        self._present = None
        if self.ahead is not None:
            self.audio = self._silence

    def listen(self, features: Floats) -> None:
        """h_audio of the next frame, (300,), from ``receiver.hearing``. Until then a network with audio hears silence."""
        self.audio = np.asarray(features, np.float32)

    def _choose(self, vertices: Floats) -> int:
        if self._present is None:
            raise RuntimeError("prepare(reference) comes before the first frame")
        distances = {n: float(np.abs(v[:, :2] - vertices[:, :2]).mean()) for n, (v, _) in self._photos.items()}
        best = min(distances, key=lambda n: distances[n])
        if distances[best] < HYSTERESIS * distances[self._present]:
            self._present = best
        return self._present

    def generate(self, frame: DrivingFrame) -> Picture:
        code = raster.pncc(frame.visibility, self.colours)
        self._codes.append(code)
        codes = list(self._codes)
        codes = [codes[0]] * (3 - len(codes)) + codes
        encoded = self._photos[self._choose(frame.vertices)][1]
        picture: Picture = self.painter.paint(encoded, np.concatenate(codes, 2), self.audio)
        return picture


class HeadGANSmall(HeadGAN):
    """A quarter of the width: what a CPU trains (``training.headgan_small``)."""

    name = "headgan-small"


def _silence() -> Floats:
    from models.characters import CharacterNet

    return CharacterNet().mix.silence()


def load(path: Path | str | None, device: str = "cpu", name: str = "headgan") -> Any:
    """A network with the weights of a safetensors file, ready to run: ``models.headgan_networks.HeadGANNet``.

    int8 weights (per output channel) are expanded. name: of the training that makes them, for the message. Raises
    UsageError where there is no file or no torch, HeadwireError where the file is damaged, or of another architecture or
    version.
    """
    if path is None or not Path(path).is_file():
        where = "" if path is None else f" at {path}"
        raise UsageError(f"no {name} weights{where}: train them with `headwire train {name}` (docs/training.md)")
    try:
        import torch
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UsageError("headgan needs torch and safetensors: pip install 'headwire[train]'") from error
    from models.headgan_networks import HeadGANNet

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            notes = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise HeadwireError(f"{path} is not a readable safetensors file: {error}") from error
    config = _config(notes, path)
    net = HeadGANNet(config)
    state = {}
    for key, value in tensors.items():
        if key.endswith(".scale"):
            continue
        scale = tensors.get(f"{key}.scale")
        state[key] = (
            value.float() if scale is None else value.float() * scale.float().view(-1, *[1] * (value.dim() - 1))
        )
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise HeadwireError(f"{path} does not hold the weights of its own description, {asdict(config)}") from error
    return net.eval().to(torch.device(device))


def _config(notes: dict[str, str], path: Path | str) -> HeadGANConfig:
    if notes.get("format") != FORMAT:
        raise HeadwireError(
            f"{path} holds no headgan weights of this version ({FORMAT}); its format is {notes.get('format')}"
        )
    try:
        said = json.loads(notes["config"])
        ahead = int(said.get("ahead", AHEAD))
        config = HeadGANConfig(float(said["width"]), int(said["audio"]), bool(said["flow"]), ahead)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise HeadwireError(f"{path} does not describe its network") from error
    if not (0 < config.width <= 4 and config.audio in (0, AUDIO) and 0 <= config.ahead < PARTS):
        raise HeadwireError(f"{path} describes a network that cannot be: {asdict(config)}")
    return config
