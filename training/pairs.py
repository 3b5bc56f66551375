"""Pairs of (references, driving frame) of one person: drawn by seed, step and slot, gathered, augmented.

A draw depends on nothing but (seed, step, slot), so that a resumed run, or one on another number of processes, sees the
same samples. Buffers (which triangle each pixel shows, barycentric) are rasterised on the way on a CPU; with
``resident`` all pictures and buffers live on the training device and a batch is a handful of gathers. The geometric
flow of a pair is a gather from the driving frame's buffer and the reference's vertices. Mirror and crop are index maps
on all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as f

from codec.errors import UsageError
from codec.face_model import GROUPS, FaceModel
from codec.parameters import SIZE, Floats
from codec.raster import pncc_colours, rasterise
from training.pairs_store import StoredClip, with_sound
from training.sketch import COLOURS, MIRRORED_COLOURS, sketch
from training.topology import mirror_map


@dataclass(frozen=True)
class PairSettings:
    """How pairs are drawn and augmented.

    photos: references per sample. sketches: landmark sketches in PNCC's place. flow: make the geometric flow too.
    mirror, crop: probabilities; crop_least: smallest side of the crop, of the picture's. colour: largest change of each
    gain. audio: h_audio of the driving frame, too; sounding: only clips that have it, heard or not.
    """

    photos: int = 1
    sketches: bool = False
    flow: bool = False
    mirror: float = 0.5
    crop: float = 0.5
    crop_least: float = 0.8
    colour: float = 0.1
    audio: bool = False
    sounding: bool = False


PLAIN = PairSettings(mirror=0.0, crop=0.0, colour=0.0)
"""No augmentation: for validation."""


@dataclass(frozen=True)
class Draw:
    """One sample: which clip, references and picture (indices into the clip's arrays), and its augmentation.

    window: (3,) a, bx, by: the output's point p lies at a p + b in the (possibly mirrored) source. gain: (3, 3) on
    colours, offset: (3,), both on the scale -1..1.
    """

    clip: int
    references: tuple[int, ...]
    picture: int
    mirror: bool
    window: Floats
    gain: Floats
    offset: Floats


@dataclass(frozen=True)
class PairBatch:
    """B samples with P references each, S = 256; pictures -1..1, codes 0..1, coordinates in pixels.

    references (B, P, 3, S, S), driving (B, 3, S, S). reference_codes (B, P, 3, S, S) and window (B, 9, S, S: x_{t-2},
    x_{t-1}, x_t): PNCC or sketches. mouth (B, 2). vertices (B, 478, 3), reference_vertices (B, P, 478, 3). mask (B, 1,
    S, S) bool: where the driving mesh is seen. flow (B, P, 2, S, S): displacement to the same point of skin in each
    reference, in half widths as ``models.headgan_blocks.warped`` takes it, 0 outside the mesh; None unless asked for.
    audio (B, 300) or None.
    """

    references: Tensor
    driving: Tensor
    reference_codes: Tensor
    window: Tensor
    mouth: Tensor
    vertices: Tensor
    reference_vertices: Tensor
    mask: Tensor
    flow: Tensor | None
    audio: Tensor | None

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        moved: dict[str, Any] = {}
        for x in fields(self):
            value = getattr(self, x.name)
            moved[x.name] = None if value is None else value.to(device, non_blocking=True)
        return replace(self, **moved)


@dataclass(frozen=True)
class Buffers:
    """What pixels show. label (N, S, S) int16: triangle or sketch part; barycentric (N, S, S, 2) uint8 of 255."""

    label: Tensor
    barycentric: Tensor | None


class PairSource:
    """Makes batches from a store's clips.

    device: where a batch is made. resident: keep every picture and buffer there. Clips without audio features are left
    out where audio is asked for; raises UsageError where none is left.
    """

    def __init__(
        self,
        clips: Sequence[StoredClip],
        settings: PairSettings | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        resident: bool = False,
    ) -> None:
        self.settings, self.seed = settings or PairSettings(), seed
        self.clips = with_sound(clips) if self.settings.audio or self.settings.sounding else list(clips)
        self.device = torch.device(device)
        if self.settings.sketches and self.settings.flow:
            raise ValueError("a geometric flow needs the mesh, not sketches")
        if not self.clips:
            raise UsageError(
                "none of these clips has audio features: train with --no-audio, or prepare clips that have sound again"
            )
        self._weigh()
        model = FaceModel.load()
        mirrored = mirror_map(model.mean.astype(np.float64))
        self.triangles = np.ascontiguousarray(model.triangles, np.int32)
        self._mirrored = torch.from_numpy(mirrored.astype(np.int64)).to(self.device)
        self._faces = torch.from_numpy(self.triangles.astype(np.int64)).to(self.device)
        self._colours = self._tables(model, mirrored)
        self._resident = _Resident(self) if resident else None

    def _weigh(self) -> None:
        """Identities by the square root of their frames, clips of one identity by their frames."""
        frames = np.array([len(clip.usable) for clip in self.clips], np.float64)
        total: dict[str, float] = {}
        for clip, count in zip(self.clips, frames, strict=True):
            total[clip.identity] = total.get(clip.identity, 0.0) + count
        share = np.array([np.sqrt(total[c.identity]) / total[c.identity] for c in self.clips]) * frames
        self.probability = share / share.sum()

    def _tables(self, model: FaceModel, mirrored: NDArray[np.int32]) -> Tensor:
        """(2, T + 1, 3): colours of labels, plain and for mirrored pictures; the last row, label -1, is black."""
        if self.settings.sketches:
            pair = (COLOURS, MIRRORED_COLOURS)
        else:
            twin = replace(model, mean=model.mean[mirrored])
            pair = (pncc_colours(model), pncc_colours(twin))
        black = np.zeros((1, 3), np.float32)
        return torch.from_numpy(np.stack([np.concatenate((c, black)) for c in pair])).to(self.device)

    def draw(self, step: int, slot: int) -> Draw:
        """The sample at a place in the run."""
        rng = np.random.default_rng((self.seed, step, slot))
        s = self.settings
        number = int(rng.choice(len(self.clips), p=self.probability))
        clip = self.clips[number]
        picture = int(rng.choice(clip.usable))
        count = min(s.photos, len(clip.usable_references))
        chosen = rng.choice(clip.usable_references, count, replace=False)
        references = tuple(int(n) for n in np.resize(chosen, s.photos))
        mirror = bool(rng.random() < s.mirror)
        side = float(rng.uniform(s.crop_least, 1.0)) if rng.random() < s.crop else 1.0
        corner = rng.uniform(0.0, (1 - side) * SIZE, 2)
        window = np.array((side, *corner), np.float32)
        brightness, contrast, saturation = rng.uniform(-s.colour, s.colour, 3)
        tint = rng.uniform(-s.colour / 2, s.colour / 2, 3)
        grey = np.full((3, 3), 1 / 3)
        gain = (1 + contrast) * (np.eye(3) + saturation * (np.eye(3) - grey)) @ np.diag(1 + tint)
        return Draw(
            number, references, picture, mirror, window, gain.astype(np.float32), np.full(3, brightness, np.float32)
        )

    def batch(self, step: int, slots: Sequence[int]) -> PairBatch:
        """The samples of these slots of a step."""
        return self.gather([self.draw(step, slot) for slot in slots])

    def gather(self, draws: Sequence[Draw]) -> PairBatch:
        """Fetch and augment given samples."""
        size, photos = len(draws), self.settings.photos
        clips = [self.clips[d.clip] for d in draws]
        moments = np.array([self._moments(c, d) for c, d in zip(clips, draws, strict=True)])
        numbers = np.array([d.clip for d in draws])
        pictures = self._pictures(draws).float() / 127.5 - 1
        buffers = self._buffers(numbers, moments)
        meshes = np.stack([c.vertices[m] for c, m in zip(clips, moments, strict=True)])
        vertices = torch.from_numpy(meshes).to(self.device)

        mirror = torch.tensor([d.mirror for d in draws], device=self.device)
        window = torch.from_numpy(np.stack([d.window for d in draws])).to(self.device)
        source = _sources(window, mirror)
        pictures = _resampled(pictures, source)
        gain = torch.from_numpy(np.stack([d.gain for d in draws])).to(self.device)
        offset = torch.from_numpy(np.stack([d.offset for d in draws])).to(self.device)
        pictures = torch.einsum("bij,bnjhw->bnihw", gain, pictures) + offset[:, None, :, None, None]
        pictures = pictures.clamp(-1, 1)

        pixels = source.floor().long().clamp(0, SIZE - 1)
        label = _picked(buffers.label, pixels)
        codes = self._colours[mirror.long()[:, None, None, None], label.long()].permute(0, 1, 4, 2, 3)
        flow = None
        if self.settings.flow and buffers.barycentric is not None:
            flow = self._flow(buffers, pixels, vertices, photos)
            turned = torch.where(mirror, -1.0, 1.0)[:, None, None, None] / window[:, 0, None, None, None]
            flow = flow * torch.stack((turned, 1 / window[:, 0, None, None, None].expand_as(turned)), 2) * (2 / SIZE)
        out = self._moved(vertices, mirror, window)
        audio = None
        if self.settings.audio:
            heard = np.stack([c.fit["audio"][m[-1]] for c, m in zip(clips, moments, strict=True)])
            audio = torch.from_numpy(heard).to(self.device)
        lips = torch.from_numpy(GROUPS["lips"].astype(np.int64)).to(self.device)
        return PairBatch(
            references=pictures[:, :photos],
            driving=pictures[:, photos],
            reference_codes=codes[:, :photos],
            window=codes[:, photos:].reshape(size, 9, SIZE, SIZE),
            mouth=out[:, -1, lips, :2].mean(1),
            vertices=out[:, -1],
            reference_vertices=out[:, :photos],
            mask=label[:, -1:] >= 0,
            flow=flow,
            audio=audio,
        )

    @staticmethod
    def _moments(clip: StoredClip, draw: Draw) -> list[int]:
        """Frame numbers: of the references, then t-2, t-1, t; a clip's first frame repeats."""
        t = draw.picture * clip.every
        return [int(clip.reference_frames[n]) for n in draw.references] + [max(t - 2, 0), max(t - 1, 0), t]

    def _pictures(self, draws: Sequence[Draw]) -> Tensor:
        """(B, P + 1, 3, S, S) uint8: references, then the driving frame."""
        if self._resident is not None:
            return self._resident.pictures(draws)
        rows = []
        for draw in draws:
            clip = self.clips[draw.clip]
            rows.append(np.stack([*(clip.references[n] for n in draw.references), clip.pictures[draw.picture]]))
        return torch.from_numpy(np.stack(rows)).to(self.device).permute(0, 1, 4, 2, 3)

    def _buffers(self, numbers: NDArray[np.int64], moments: NDArray[np.int64]) -> Buffers:
        """Buffers of (B,) clips at (B, M) frames, each (B, M, ...)."""
        if self._resident is not None:
            return self._resident.buffers(numbers, moments)
        drawn = [self.rasterised(self.clips[n], t) for n, row in zip(numbers, moments, strict=True) for t in row]
        return self.stacked(drawn, moments.shape)

    def rasterised(self, clip: StoredClip, t: int) -> tuple[NDArray[np.int16], NDArray[np.uint8] | None]:
        """What the pixels of one frame show: labels, and barycentric where a flow is wanted."""
        if self.settings.sketches:
            return sketch(clip.fit["landmarks"][t, :, :2]), None
        seen = rasterise(clip.vertices[t], self.triangles)
        if not self.settings.flow:
            return seen.triangle, None
        return seen.triangle, np.rint(seen.barycentric.clip(0, 1) * 255).astype(np.uint8)

    def stacked(self, drawn: Sequence[tuple[Any, Any]], shape: tuple[int, ...]) -> Buffers:
        """Buffers as one tensor of a leading shape."""
        label = torch.from_numpy(np.stack([x[0] for x in drawn])).to(self.device)
        weights = None
        if self.settings.flow:
            weights = torch.from_numpy(np.stack([x[1] for x in drawn])).to(self.device).view(*shape, SIZE, SIZE, 2)
        return Buffers(label.view(*shape, SIZE, SIZE), weights)

    def _flow(self, buffers: Buffers, pixels: Tensor, vertices: Tensor, photos: int) -> Tensor:
        """(B, P, 2, S, S): displacement in source pixels from driving frame to reference, 0 outside the mesh."""
        assert buffers.barycentric is not None
        label = _picked(buffers.label[:, -1:], pixels)[:, 0].long()
        share = _picked(buffers.barycentric[:, -1:], pixels)[:, 0].float() / 255
        share = torch.cat((share, 1 - share.sum(-1, keepdim=True)), -1)
        corners = self._faces[label.clamp(min=0)]
        batch = torch.arange(len(label), device=self.device)[:, None, None, None]
        moved = vertices[:, :photos, :, :2] - vertices[:, -1:, :, :2]
        at_corners = moved.transpose(1, 2)[batch, corners]
        flow = (at_corners * share[..., None, None]).sum(3) * (label >= 0)[..., None, None]
        return flow.permute(0, 3, 4, 1, 2)

    def _moved(self, vertices: Tensor, mirror: Tensor, window: Tensor) -> Tensor:
        """(B, M, 478, 3) in source pixels -> where the augmented pictures show them."""
        flipped = vertices[:, :, self._mirrored].clone()
        flipped[..., 0] = SIZE - flipped[..., 0]
        v = torch.where(mirror[:, None, None, None], flipped, vertices)
        corner = f.pad(window[:, 1:], (0, 1))[:, None, None]
        return (v - corner) / window[:, :1, None, None]


def _sources(window: Tensor, mirror: Tensor) -> Tensor:
    """(B, 3), (B,) -> (B, S, 2): where the centres of output columns (x) and rows (y) lie in the source, pixels."""
    centres = torch.arange(SIZE, device=window.device) + 0.5
    at = window[:, :1, None] * centres[:, None] + window[:, None, 1:]
    x = torch.where(mirror[:, None], SIZE - at[..., 0], at[..., 0])
    return torch.stack((x, at[..., 1]), -1)


def _resampled(pictures: Tensor, source: Tensor) -> Tensor:
    """(B, N, C, S, S) at the places of ``_sources``, bilinear."""
    b, n = pictures.shape[:2]
    grid = source * (2 / SIZE) - 1
    field = torch.stack((grid[:, None, :, 0].expand(b, SIZE, SIZE), grid[:, :, None, 1].expand(b, SIZE, SIZE)), -1)
    flat = pictures.flatten(1, 2)
    out = f.grid_sample(flat, field, mode="bilinear", padding_mode="border", align_corners=False)
    return out.view(b, n, -1, SIZE, SIZE)


def _picked(buffer: Tensor, pixels: Tensor) -> Tensor:
    """(B, M, S, S, ...) at (B, S, 2) columns and rows."""
    batch = torch.arange(len(buffer), device=buffer.device)[:, None, None, None]
    frame = torch.arange(buffer.shape[1], device=buffer.device)[None, :, None, None]
    return buffer[batch, frame, pixels[:, None, :, None, 1], pixels[:, None, None, :, 0]]


class _Resident:
    """Every picture, photo and buffer of a source on its device."""

    def __init__(self, source: PairSource) -> None:
        self._source = source
        clips, device = source.clips, source.device
        self._first = np.cumsum([0] + [len(c.fit["good"]) for c in clips])
        self._first_picture = np.cumsum([0] + [len(c.pictures) for c in clips])
        self._first_photo = np.cumsum([0] + [len(c.references) for c in clips])
        self._shown = torch.cat([torch.from_numpy(np.array(c.pictures)).to(device) for c in clips])
        self._photos = torch.cat([torch.from_numpy(np.array(c.references)).to(device) for c in clips])
        parts = [
            source.stacked([source.rasterised(c, t) for t in range(len(c.fit["good"]))], (len(c.fit["good"]),))
            for c in clips
        ]
        self._label = torch.cat([p.label for p in parts])
        weights = [p.barycentric for p in parts if p.barycentric is not None]
        self._weights = torch.cat(weights) if weights else None

    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        photos = [[int(self._first_photo[d.clip]) + n for n in d.references] for d in draws]
        shown = [int(self._first_picture[d.clip]) + d.picture for d in draws]
        index = torch.tensor(photos, device=self._source.device)
        both = torch.cat((self._photos[index], self._shown[torch.tensor(shown, device=index.device)][:, None]), 1)
        return both.permute(0, 1, 4, 2, 3)

    def buffers(self, numbers: NDArray[np.int64], moments: NDArray[np.int64]) -> Buffers:
        index = torch.from_numpy(self._first[numbers][:, None] + moments).to(self._source.device)
        return Buffers(self._label[index], None if self._weights is None else self._weights[index])
