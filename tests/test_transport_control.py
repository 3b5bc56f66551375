from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from transport import control


def test_round_trip_of_every_kind() -> None:
    messages: list[control.Control] = [
        {"kind": "ping", "id": 3},
        {"kind": "pong", "id": 3, "time": 12.5},
        {"kind": "bye", "reason": "done"},
        {"kind": "app", "name": "acknowledge", "data": {"keys": [1, 2], "hash": b"\0\xff", "deep": {"x": None}}},
    ]
    for message in messages:
        assert control.parse(control.pack(message)) == message


def test_a_float_may_be_whole_but_not_a_truth() -> None:
    assert control.parse(msgpack.packb({"kind": "pong", "id": 1, "time": 12}))["time"] == 12
    with pytest.raises(BitstreamError):
        control.parse(msgpack.packb({"kind": "pong", "id": True, "time": 12.0}))


def test_defining_twice_is_harmless_unless_it_differs() -> None:
    control.define("test-kind", size=int)
    control.define("test-kind", size=int)
    with pytest.raises(ValueError, match="already defined"):
        control.define("test-kind", size=str)
    assert control.parse(control.pack({"kind": "test-kind", "size": 4}))["size"] == 4


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "unheard-of"},
        {"kind": "ping"},
        {"kind": "ping", "id": 1, "more": 2},
        {"kind": "ping", "id": "1"},
        {"id": 1},
        {"kind": ["ping"], "id": 1},
        {"kind": "pong", "id": 1, "time": float("nan")},
        {"kind": "app", "name": "x", "data": {"a": [[[[[1]]]]]}},
        {"kind": "app", "name": "x", "data": {"a": list(range(2000))}},
        [1, 2],
        7,
        None,
    ],
)
def test_wrong_messages_are_refused_on_both_sides(message: Any) -> None:
    with pytest.raises(BitstreamError):
        control.parse(msgpack.packb(message))
    if isinstance(message, dict):
        with pytest.raises(ValueError, match="not a control message"):
            control.pack(message)


def test_size_is_capped() -> None:
    big = msgpack.packb({"kind": "bye", "reason": "x" * control.MAX_BYTES})
    with pytest.raises(BitstreamError, match="at most 16384"):
        control.parse(big)
    with pytest.raises(BitstreamError):
        control.parse("text")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 10_000 + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa1a",
        b"\xc6\xff\xff\xff\xff",
        msgpack.packb({"kind": "ping", "id": 1}) + b"\0",
        msgpack.packb({"kind": "ping", "id": 1})[:-1],
        b"\x82\xa4kind\xa4ping\x90\x01",
        b"\xa2\xff\xff",
        msgpack.packb(msgpack.ExtType(1, b"x")),
        b"\xdc\x00\x41" + bytes(65),
        msgpack.packb({"kind": "app", "name": "", "data": {"": [[[0] * 63] * 5]}}),
    ],
)
def test_hostile_bytes(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        control.parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_bitstream_error(data: bytes) -> None:
    try:
        message = control.parse(data)
    except BitstreamError:
        return
    assert control.parse(control.pack(message)) == message
