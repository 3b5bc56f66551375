"""Writes ``motion.json``: ``python -m tests.golden.make_motion``. Needed again when the motion tables are learned anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codec.errors import BitstreamError
from codec.motion import LIFETIMES, Change, MotionDecoder, MotionField, encode_motion, no_motion
from tests.test_motion import numbers

# sequence, reference, photo, step, lifetime, share of points that change
PLAN: tuple[tuple[int, int | None, int, int, int, float], ...] = (
    (1000, None, 3, 4, 0, 0.05),
    (1002, 1000, 3, 4, 0, 0.02),
    (1004, 1002, 3, 4, 0, 0.01),
    (1010, 1002, 3, 4, 0, 0.03),
    (1011, 1010, 3, 2, 0, 0.02),
    (1060, 1011, 3, 2, 1, 0.0),
    (1062, None, 200, 6, 0, 0.1),
    (1064, 1062, 200, 8, 1, 0.05),
)


def main() -> None:
    packets: list[dict[str, Any]] = []
    fields: dict[int, MotionField] = {}
    for n, (sequence, before, photo, step, lifetime, share) in enumerate(PLAN):
        change = Change(numbers(n + 10, share, 3), step, LIFETIMES[lifetime])
        reference = None if before is None else fields[before]
        data = encode_motion(change, sequence, photo, reference)
        field = change.applied(sequence, reference or no_motion(sequence, photo))
        assert field is not None
        fields[sequence] = field
        packets.append(
            {
                "sequence": sequence,
                "reference": before,
                "photo_id": photo,
                "step": step,
                "lifetime": LIFETIMES[lifetime],
                "data": data.hex(),
                "numbers": change.numbers.ravel().tolist(),
                "control": field.control.ravel().tolist(),
            }
        )
    first = packets[0]["data"]
    damaged = [t for t in (first[:20], first + "01", first + "00", "ff" * 12, "000000", "ffffffff") if refused(t)]
    Path(__file__).with_name("motion.json").write_text(json.dumps({"packets": packets, "damaged": damaged}))


def refused(text: str) -> bool:
    try:
        MotionDecoder().decode(bytes.fromhex(text), 5000)
    except BitstreamError:
        return True
    return False


if __name__ == "__main__":
    main()
