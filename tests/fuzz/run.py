"""A plain mutation loop over everything that comes from a peer or a file: python -m tests.fuzz.run [TARGET COUNT]...

Without arguments a million inputs in all (``SHARES``). Whatever comes of an input must be taken or raise BitstreamError, within
``SLOWEST_S`` of processor time, the decoding of pictures apart. The first input of each kind of outcome is kept in ``corpus/``; the
loop and the suite begin with those.
"""

from __future__ import annotations

import gc
import hashlib
import random
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from codec import photo
from codec.errors import BitstreamError
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Taker, Target

CORPUS = Path(__file__).with_name("corpus")
SHARES = {
    "parameters": 180_000,
    "motion": 180_000,
    "photos": 150_000,
    "updates": 50_000,
    "riding": 50_000,
    "control": 160_000,
    "opus": 160_000,
    "files": 60_000,
    "picture": 5_000,
    "stills": 5_000,
}
SLOWEST_S = 0.001
FRESH = 500
"""Inputs after which an end starts anew."""

_DETAILS = re.compile(r"unknown kind .*|'[^']*'|\[.*|/\S*\.hw|-?\d+")
"""What messages of one kind of outcome differ in."""

LONGEST = 1500
"""Bytes of an input that is kept."""


@dataclass
class Outcome:
    """Of a target: inputs taken and refused, the slowest (s), kinds of outcome, inputs to keep, by kind."""

    taken: int = 0
    refused: int = 0
    slowest: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    kept: dict[str, bytes] = field(default_factory=dict)


class _Clock:
    """Processor time of this thread without that in which pictures are decoded."""

    def __init__(self) -> None:
        self.pictures = 0.0
        self._decode = photo.decode_photo

    def now(self) -> float:
        return time.thread_time() - self.pictures

    def decode_photo(self, data: bytes) -> Any:
        begin = time.thread_time()
        try:
            return self._decode(data)
        finally:
            self.pictures += time.thread_time() - begin


def timed(take: Taker, data: bytes, clock: _Clock) -> tuple[str, float]:
    """Kind of outcome ("" for taken), seconds. Anything but BitstreamError is raised."""
    begin = clock.now()
    try:
        take(data)
    except BitstreamError as error:
        return _DETAILS.sub("#", str(error)), clock.now() - begin
    return "", clock.now() - begin


def inputs_kept(name: str) -> list[bytes]:
    """Those of the corpus."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*.bin"))]


def fuzz(target: Target, count: int, seed: int = 1) -> Outcome:
    """Mutate and take. Raises what a taker raises but BitstreamError, with the input as a note."""
    rng, clock, outcome = random.Random(f"{target.name} {seed}"), _Clock(), Outcome()
    seeds = target.seeds()
    old = inputs_kept(target.name)
    corpus = seeds * (1 + len(old) // max(1, len(seeds))) + old
    take = target.taker()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(photo, "decode_photo", clock.decode_photo))
        gc.freeze()
        gc.disable()
        stack.callback(gc.enable)
        stack.callback(gc.unfreeze)
        for number in range(count):
            if number % FRESH == FRESH - 1:
                take = target.taker()
                gc.collect()
            data = old[number] if number < len(old) else mutated(rng, corpus)
            try:
                kind, spent = timed(take, data, clock)
                if spent > outcome.slowest:
                    spent = min(spent, *(timed(target.taker(), data, clock)[1] for _ in range(4)))
            except BaseException as error:
                error.add_note(f"{target.name}, input {number} of seed {seed}: {data.hex()}")
                raise
            outcome.slowest = max(outcome.slowest, spent)
            outcome.taken, outcome.refused = outcome.taken + (not kind), outcome.refused + bool(kind)
            outcome.kinds[kind] += 1
            if outcome.kinds[kind] <= 3 and len(data) <= LONGEST:
                outcome.kept[f"{kind} {outcome.kinds[kind]}"] = data
    return outcome


def main(shares: dict[str, int]) -> None:
    """Run, keep and report."""
    for name, count in shares.items():
        begin = time.perf_counter()
        outcome = fuzz(TARGETS[name], count)
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for data in outcome.kept.values():
            (CORPUS / name / f"{hashlib.sha256(data).hexdigest()[:12]}.bin").write_bytes(data)
        print(
            f"{name:11} {count:7} inputs, {outcome.taken} taken, {outcome.refused} refused in {len(outcome.kinds)} ways, "
            f"slowest {1000 * outcome.slowest:.2f} ms, {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        if outcome.slowest > SLOWEST_S and name not in ("picture", "stills"):
            raise SystemExit(f"{name}: an input took {1000 * outcome.slowest:.2f} ms")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(dict(zip(arguments[::2], map(int, arguments[1::2]), strict=True)) if arguments else SHARES)
