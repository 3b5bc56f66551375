"""Reading safetensors without the package: a length, a JSON header, the numbers. Nothing of a file is executed."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError

_MOST = 64 << 20
_KINDS: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "I8": np.dtype("i1")}
_SCALE = ".scale"

Tensors = dict[str, NDArray[np.float32]]


def read(path: Path, kind: str, whose: str) -> tuple[Tensors, dict[str, str]]:
    """Tensors as float32, and the metadata, of a file whose ``format`` is ``kind``. whose: the network, for the
    message. A kernel in 8 bits is multiplied by the tensor ``NAME.scale`` beside it, a number for each output channel.

    Raises HeadwireError where the file cannot be read, is damaged or of another format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HeadwireError(f"the weights of {whose} cannot be read: {path}: {error.strerror}") from error
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(len(data) - 8, _MOST):
            raise ValueError("its header is longer than the file")
        head = json.loads(data[8 : 8 + length])
        notes = dict(head.pop("__metadata__"))
        if notes.get("format") != kind:
            raise ValueError(f"its format is {notes.get('format')!r}")
        tensors = {name: _tensor(data[8 + length :], **said) for name, said in head.items()}
        for name in [name for name in tensors if name.endswith(_SCALE)]:
            scale, kernel = tensors.pop(name), name.removesuffix(_SCALE)
            tensors[kernel] = tensors[kernel] * scale.reshape(-1, *[1] * (tensors[kernel].ndim - 1))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise HeadwireError(f"{path} does not hold weights of {whose} ({error}): install headwire again") from error
    return tensors, notes


def _tensor(data: bytes, dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[np.float32]:
    kind, (begin, end), count = _KINDS[dtype], data_offsets, math.prod(shape)
    if not 0 <= begin <= end <= len(data) or end - begin != count * kind.itemsize:
        raise ValueError("a tensor is not where it should be")
    return np.frombuffer(data, kind, count, begin).reshape(shape).astype(np.float32)
