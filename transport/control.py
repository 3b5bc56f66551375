"""Control messages: small msgpack maps whose kinds and fields are known, so that foreign bytes cannot surprise.

A message is a map with a text ``kind`` and exactly the fields that ``define`` gave to that kind.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]

from codec.errors import BitstreamError

MAX_BYTES = 16 * 1024
MAX_ITEMS = 64
"""Of one list or map. msgpack sets a list's room aside when it reads its length, down to 1024 lists within one another."""

MAX_VALUES = 256
"""In one message, lists and maps counted, too."""

MAX_DEPTH = 4

Control = dict[str, Any]

_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {}


def define(kind: str, **fields: type | tuple[type, ...]) -> None:
    """Make a kind of message known, with its fields and their types; repeating the same definition is harmless.

    A float field takes whole numbers as well. Raises ValueError when the kind is known with other fields.
    """
    table = {name: types if isinstance(types, tuple) else (types,) for name, types in fields.items()}
    if _FIELDS.setdefault(kind, table) != table:
        raise ValueError(f"control message '{kind}' is already defined with other fields")


define("ping", id=int)
define("pong", id=int, time=float)
define("bye", reason=str)
define("audio", timestamp=int, time=float)
define("keys", keys=list)
define("statistics", received=int, lost=int, late=int)
define("app", name=str, data=dict)
define("photo", id=int)
define("start", time=float)


def pack(message: Control) -> bytes:
    """Control message -> bytes. Raises ValueError for a message that ``parse`` would refuse: a bug of the caller."""
    try:
        data: bytes = msgpack.packb(message)
        parse(data)
    except (TypeError, BitstreamError) as error:
        raise ValueError(f"not a control message: {error}") from error
    return data


def parse(data: bytes | str) -> Control:
    """Bytes from the peer -> control message. Raises BitstreamError for anything else."""
    if isinstance(data, str):
        raise BitstreamError("the peer sent text where a control message was expected")
    if len(data) > MAX_BYTES:
        raise BitstreamError(f"the peer sent a control message of {len(data)} bytes; at most {MAX_BYTES} are allowed")
    try:
        message = msgpack.unpackb(
            data, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_str_len=MAX_BYTES, max_ext_len=0
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise BitstreamError("the peer sent a control message that is not msgpack") from error
    if not isinstance(message, dict):
        raise BitstreamError("the peer sent a control message that is not a map")
    _check_value(message, MAX_DEPTH, MAX_VALUES)
    _check_fields(message)
    return message


def _check_value(value: Any, depth: int, room: int) -> int:
    """Returns how many of ``room`` values are left."""
    if room <= 0:
        raise BitstreamError(f"the peer sent a control message of more than {MAX_VALUES} values")
    room -= 1
    if value is None or isinstance(value, bool | int | str | bytes):
        return room
    if isinstance(value, float) and math.isfinite(value):
        return room
    if depth > 0 and isinstance(value, list):
        for item in value:
            room = _check_value(item, depth - 1, room)
        return room
    if depth > 0 and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for item in value.values():
            room = _check_value(item, depth - 1, room)
        return room
    raise BitstreamError("the peer sent a control message with a value that is not plain data")


def _check_fields(message: Control) -> None:
    kind = message.get("kind")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise BitstreamError(f"the peer sent a control message of an unknown kind {kind!r:.40}")
    if message.keys() - {"kind"} != fields.keys():
        raise BitstreamError(f"the peer sent a control message '{kind}' with other fields than {sorted(fields)}")
    for name, types in fields.items():
        value = message[name]
        allowed = (*types, int) if float in types else types
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in types):
            raise BitstreamError(f"the peer sent a control message '{kind}' with a wrong type of '{name}'")
