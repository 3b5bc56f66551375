"""``docs/bitstream-parameters.md`` is enough to write a decoder from: one in plain Python integers, beside the golden packets."""

import json
import zipfile
import zlib

import numpy as np

from codec.quantiser import TABLES
from tests.golden.make_parameters import PATH


def arrays() -> dict[str, list]:
    with zipfile.ZipFile(TABLES) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist()]
    with np.load(TABLES) as file:
        return {name: file[name].tolist() for name in names if file[name].dtype.kind in "iu"}


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.code, self.range = int.from_bytes((data + bytes(4))[:4], "big"), (1 << 32) - 1

    def target(self, bits: int) -> int:
        return min(self.code // (self.range >> bits), (1 << bits) - 1)

    def step(self, start: int, size: int, bits: int) -> None:
        part = self.range >> bits
        self.code -= part * start
        self.range = part * size
        assert self.code < self.range
        while self.range < 1 << 24:
            self.code = self.code << 8 | (self.data[self.at] if self.at < len(self.data) else 0)
            self.at += 1
            self.range <<= 8

    def raw(self, bits: int) -> int:
        value = self.target(bits)
        self.step(value, 1, bits)
        return value

    def flag(self, frequency: int) -> bool:
        is_set = self.target(15) >= 32768 - frequency
        self.step(32768 - frequency if is_set else 0, frequency if is_set else 32768 - frequency, 15)
        return is_set

    def number(self, ladder: list[int]) -> int:
        at = self.target(15)
        token = max(t for t in range(26) if ladder[t] <= at)
        self.step(ladder[token], ladder[token + 1] - ladder[token], 15)
        if token == 0:
            return 0
        negative = self.raw(1)
        extra = max(token - 12, 0)
        magnitude = token if token < 12 else 11 + (1 << extra) + (self.raw(extra) if extra else 0)
        return -magnitude if negative else magnitude


def numbers(reader: Reader, count: int, t: dict[str, list], rung: int, role: int) -> list[int]:
    a = x = 512
    out = []
    for i in range(count):
        base = t["base"][rung][role][i]
        context = sum(8 * a >= k * x for k in (4, 6, 10, 16))
        v = reader.number(t["ladder"][min(max(base + t["shift"][rung][role][context], 0), 47)])
        out.append(v)
        a = a - (a >> 3) + min(abs(v) * t["weight"][base], 4096)
        x = x - (x >> 3) + t["expected"][base]
    return out


ORDER = {1: [(0, 0)], 2: [(1, 0), (0, 1)], 4: [(3, 0), (1, 1), (0, 2), (2, 2)]}


Key = tuple[list[int], list[int], int | None]


def decode(data: bytes, keys: dict[int, Key], t: dict[str, list]) -> dict:
    reader = Reader(b"" if data == b"\0" else data)
    assert not reader.flag(2048)
    sequence, at = reader.raw(4), reader.target(4)
    slot = sum(at >= limit for limit in (1, 9, 13))
    reader.step((0, 1, 9, 13)[slot], (1, 8, 4, 3)[slot], 4)
    key, window, rung = keys[slot]
    if rung is None:
        rung = reader.raw(2)
        rung = reader.raw(4) if rung == 3 else rung
    elif reader.flag(512):
        rung = reader.raw(4)
    store = reader.raw(2) if reader.flag(1024) else None
    if reader.flag(128):
        window = [reader.raw(16) - 32768 for _ in range(3)]
    frames: dict[int, dict] = {}
    for place, role in ORDER[t["frames"][rung]]:
        confidence = reader.raw(2) if reader.flag(512) else 3
        values, step = [0] * 35, t["step"][rung][role]
        if step:
            coded = numbers(reader, 35 if role == 0 else 34, t, rung, role)
            for i, v in enumerate(coded):
                s = 1 if i == 34 else step
                values[i] = ((6 * key[i] + 4 * s) // (8 * s) + v) * s if role == 0 else v * s
        frames[place] = {"role": role, "confidence": confidence, "values": values}
    assert len(reader.data) <= reader.at
    last = frames[len(frames) - 1]["values"]
    stored = None
    if store is not None:
        new = [min(max((k + p) >> 1, -131071), 131071) for k, p in zip(key, last, strict=True)]
        keys[store] = (new, window, rung)
        content = b"".join(n.to_bytes(4, "big", signed=True) for n in [*new, *window, rung])
        stored = [store, zlib.crc32(content) & 0xFFFF]
    return {
        "bytes": data.hex(), "rung": rung, "sequence": sequence, "slot": slot, "window": window, "stored": stored,
        "frames": [frames[i] for i in range(len(frames))],
    }  # fmt: skip


def test_a_decoder_written_from_the_page_gives_the_golden_integers():
    tables, golden = arrays(), json.loads(PATH.read_text())
    for rung in golden["rungs"].values():
        keys: dict[int, Key] = {0: (rung["reference"], [0, 0, 0], None)}
        for row in rung["packets"]:
            assert decode(bytes.fromhex(row["bytes"]), keys, tables) == row
