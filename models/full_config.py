"""Which ``full``: its sizes, as its file describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from codec.audio_features import AHEAD, FEATURES, PARTS
from codec.errors import HeadwireError
from models.light_inputs import CELL, COLOURS, GEOMETRY

FORMAT = "headwire-full-1"
FLOW_SCALE = 2.0
"""Pixels that the flow's head means by 1."""

MOST = 4096


@dataclass(frozen=True)
class FullConfig:
    """fine, coarse: channels at 64x64 and at 32x32. blocks: residual blocks at 64x64 before and after, middle: at 32x32. others:
    pictures from further photos. audio: length of h_audio, 0: it does not hear; ahead: parts of 40 ms that it looks ahead.
    """

    fine: int = 192
    coarse: int = 320
    blocks: int = 4
    middle: int = 6
    others: int = 2
    audio: int = FEATURES
    ahead: int = AHEAD


def check(shapes: dict[str, tuple[int, ...]], config: FullConfig, path: object) -> None:
    """Raises HeadwireError where the layers (name -> shape) are not those of the network that the file describes."""
    c = config
    wanted: dict[str, tuple[int, ...]] = {
        "stem.weight": (c.fine, COLOURS * (1 + c.others) + GEOMETRY, 3, 3),
        "down.weight": (c.coarse, c.fine, 3, 3),
    }
    if c.audio:
        wanted["hear.weight"] = (2 * c.coarse, c.audio)
    if c.others:
        wanted["share.weight"] = (CELL * CELL * c.others, c.fine, 3, 3)
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise HeadwireError(f"{path} does not hold the weights of its own description, {config}: export it again")


def described(notes: dict[str, str], path: object) -> FullConfig:
    """The network that a file's metadata describes. Raises HeadwireError where it cannot be."""
    try:
        said = json.loads(notes["config"])
        config = FullConfig(**{field.name: int(said[field.name]) for field in fields(FullConfig)})
    except (KeyError, ValueError, TypeError) as error:
        raise HeadwireError(f"{path} does not describe its network: export it again") from error
    sizes = (config.fine, config.coarse, config.blocks, config.middle)
    if not (all(0 < n <= MOST for n in sizes) and 0 <= config.others <= 8 and 0 <= config.ahead < PARTS):
        raise HeadwireError(f"{path} describes a network that cannot be: {config}")
    if config.audio not in (0, FEATURES):
        raise HeadwireError(f"{path} describes a network that hears {config.audio} features, not {FEATURES}")
    return config
