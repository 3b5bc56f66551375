"""DISTS (Ding et al., 2020): structure and texture similarity over VGG16's activations, 0 for equal pictures.

The 1475 pairs of weights come from the wheel of ``DISTS-pytorch`` 0.1 (20 kB, fetched with pip once and checked), VGG16's
from where LPIPS has it: both nets are torchvision's.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np

from bench.metrics import Figures, Pictures, _batch, _network, vgg_features
from codec.cache import fetched
from codec.errors import HeadwireError

PACKAGE = "DISTS-pytorch==0.1"
_SHA256 = "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218"
_CHANNELS = (3, 64, 128, 256, 512, 512)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STABLE = 1e-6


class Dists:
    """half: convolutions in bfloat16, everything else in float32.

    Raises HeadwireError where torch is missing or the weights cannot be had.
    """

    def __init__(self, half: bool = False) -> None:
        try:
            import torch
        except ImportError as error:
            raise HeadwireError("DISTS needs torch: pip install 'headwire[bench]'.") from error
        self._kind = torch.bfloat16 if half else torch.float32
        self._convolutions, _ = _network("vgg", self._kind)
        weights = torch.load(io.BytesIO(_weights()), map_location="cpu", weights_only=True)
        total = weights["alpha"].sum() + weights["beta"].sum()
        self._alpha, self._beta = (
            torch.split(weights[name].detach().flatten() / total, list(_CHANNELS)) for name in ("alpha", "beta")
        )
        window = np.hanning(5)[1:-1]
        blur = torch.from_numpy(np.outer(window, window) / window.sum() ** 2).float()
        self._blur = blur[None, None]
        self._mean, self._deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in (_MEAN, _DEVIATION))

    def __call__(self, truth: Pictures, shown: Pictures) -> Figures:
        """DISTS of each pair."""
        pairs = zip(_batch(truth), _batch(shown), strict=True)
        return np.concatenate([self.between(self.embed(a), self.embed(b)) for a, b in pairs])

    def embed(self, pictures: Pictures, first: Any = None) -> list[Any]:
        """The pictures and their activations, six (N, C, H, W), to be compared with those of others: 17 to 33 MB a picture.

        first: the first activations that ``Lpips("vgg").embed`` gave of the same pictures, in the same precision, which are these too:
        both networks are VGG16 up to their first pooling, and take the same colours.
        """
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(_batch(pictures)).permute(0, 3, 1, 2).float() / 255
            scaled = ((x - self._mean) / self._deviation).to(self._kind)
            return [x, *vgg_features(self._convolutions, scaled, self._pool, first)]

    def between(self, truth: list[Any], shown: list[Any]) -> Figures:
        """DISTS of each pair of what ``embed`` gave."""
        return self.distance(self.moments(truth), self.moments(shown))

    def moments(self, embedded: list[Any]) -> list[tuple[Any, Any, Any]]:
        """Of each channel of what ``embed`` gave: (N, H W, C) without its mean, the mean and the variance, (N, C)."""
        import torch

        with torch.inference_mode():
            out = []
            for x in embedded:
                rows = x.permute(0, 2, 3, 1).flatten(1, 2).float()
                mean = rows.mean(1)
                # single precision: of deviations, not of squares, whose differences would be noise
                rows = rows - mean[:, None]
                out.append((rows, mean, (rows * rows).mean(1)))
            return out

    def distance(self, truth: list[tuple[Any, Any, Any]], shown: list[tuple[Any, Any, Any]]) -> Figures:
        """DISTS of each pair of what ``moments`` gave."""
        import torch

        with torch.inference_mode():
            similar = torch.zeros(len(truth[0][1]))
            for (first, m, v), (second, n, w), alpha, beta in zip(truth, shown, self._alpha, self._beta, strict=True):
                texture = (2 * m * n + _STABLE) / (m * m + n * n + _STABLE)
                structure = (2 * (first * second).mean(1) + _STABLE) / (v + w + _STABLE)
                similar += (alpha * texture + beta * structure).sum(1)
            return np.asarray(1.0 - similar.double().numpy())

    def _pool(self, x: Any) -> Any:
        from torch.nn import functional as f

        channels = x.shape[1]
        kernel = self._blur.to(x.dtype).expand(channels, 1, 3, 3)
        return (f.conv2d(x * x, kernel, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def _weights() -> bytes:
    """The weight file; its package is fetched if need be."""
    path = fetched(PACKAGE, {"DISTS_pytorch/weights.pt": "weights.pt"}, "dists-0.1") / "weights.pt"
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise HeadwireError(f"{path} is not the file that was published: delete it and try again.")
    return data
