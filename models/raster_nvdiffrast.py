"""The rasteriser on a GPU: ``codec.raster``'s interface on nvdiffrast (extra ``gpu``; CUDA only, its licence is non-commercial).

Same conventions: pixel centres at half integers, the nearest triangle wins, barycentric weights of a triangle's first and
second vertex. Small differences are left at edges, where two triangles share a pixel's centre.
"""

from __future__ import annotations

import numpy as np

from codec.errors import HeadwireError
from codec.parameters import SIZE, Floats
from codec.raster import Triangles, Visibility


class NvdiffrastRasteriser:
    """Holds a CUDA context; ``rasterise`` is a drop-in for ``codec.raster.rasterise``."""

    def __init__(self) -> None:
        """Raises HeadwireError where there is no CUDA device or the package is missing."""
        try:
            import nvdiffrast.torch as dr
            import torch
        except ImportError as error:
            raise HeadwireError("nvdiffrast is missing: pip install 'headwire[gpu]' on a machine with CUDA") from error
        if not torch.cuda.is_available():
            raise HeadwireError("nvdiffrast needs a CUDA device, and there is none: use the rasteriser of codec.raster")
        self._dr, self._torch = dr, torch
        self._context = dr.RasterizeCudaContext()

    def rasterise(self, vertices: Floats, triangles: Triangles) -> Visibility:
        """(V, 3) pixels and depth, (T, 3) indices -> Visibility, as ``codec.raster.rasterise``."""
        torch = self._torch
        v = np.nan_to_num(np.asarray(vertices, np.float32), nan=1e6, posinf=1e6, neginf=-1e6)
        depth = v[:, 2]
        low, span = float(depth.min()), max(float(np.ptp(depth)), 1e-6)
        clip = np.ones((len(v), 4), np.float32)
        clip[:, :2] = v[:, :2] * (2 / SIZE) - 1
        clip[:, 2] = 1.8 * (depth - low) / span - 0.9
        positions = torch.from_numpy(clip)[None].cuda()
        faces = torch.from_numpy(np.ascontiguousarray(triangles, np.int32)).cuda()
        seen, _ = self._dr.rasterize(self._context, positions, faces, (SIZE, SIZE))
        seen = seen[0].cpu().numpy()
        triangle = (seen[..., 3] - 1).astype(np.int16)
        barycentric = np.where((triangle >= 0)[..., None], seen[..., :2], 0).astype(np.float32)
        return Visibility(triangle, barycentric)
