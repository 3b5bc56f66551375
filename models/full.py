"""``full``: ``light``'s network, wider and deeper, for machines with more to spend. No weights are shipped.

192 channels at 64x64 and 320 at 32x32, four blocks on either side and six in the middle: 17.4 M parameters, 34.7 GMAC
a frame. It learns as ``light`` does, by the same program (``headwire train full``), and runs on the same engine. What
DESIGN foresees besides, several references in the network and a mouth that hears, it does not have.
"""

from __future__ import annotations

from pathlib import Path

from codec.errors import UsageError
from models.light import Light
from models.warp import FaceMesh

WEIGHTS = Path(__file__).with_name("weights") / "full.safetensors"
FINE, COARSE, BLOCKS, MIDDLE = 192, 320, 4, 6
"""As ``training.light_network.LightConfig`` has them."""


class Full(Light):
    """``light`` with the weights of ``full``. weights: a file of ``training.light_export``. Raises UsageError where there is none."""

    name = "full"

    def __init__(
        self, face_model: FaceMesh, weights: Path = WEIGHTS, precision: str = "auto", threads: int = 1
    ) -> None:
        if not weights.is_file():
            raise UsageError(f"no full weights at {weights}: train them with `headwire train full` (docs/training.md)")
        super().__init__(face_model, weights, precision, threads)
