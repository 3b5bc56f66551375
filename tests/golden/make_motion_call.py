"""Writes ``motion_call.json``: ``python -m tests.golden.make_motion_call``. Needed again when the layout of messages changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codec.motion_ack import MotionReceipts
from codec.packets import Riding, frame_number, frame_period_ms, stamped, time_units, with_motion

# time of the message, s; frames a second; (frames back, motion packet); parameter packet
MESSAGES: tuple[tuple[float, float, tuple[tuple[int, str], ...], str], ...] = (
    (1.0, 25.0, (), "0051a2"),
    (12.3456, 24.0, ((1, "00c0ffee"),), "3351a2"),
    (2621.44, 25.0, ((0, "01"), (15, "02" * 255)), "90"),
    (7000.123, 29.97, ((3, "7f"),), ""),
)


def main() -> None:
    messages = []
    for time_s, fps, sections, packet in MESSAGES:
        number = frame_number(time_s, frame_period_ms(fps))
        body = with_motion([Riding(back, bytes.fromhex(data)) for back, data in sections], bytes.fromhex(packet))
        messages.append(
            {
                "data": stamped(1000 * time_s, body).hex(),
                "near_s": round(time_s + 0.31, 3),
                "fps": fps,
                "units": time_units(time_s),
                "number": number,
                "motion": [[(number - back) % 65536, data] for back, data in sections],
                "packet": packet,
            }
        )
    damaged = ["00f0", "00f100", "00f102aa", "00" + "f001aa" * 5]
    receipts = MotionReceipts()
    shown: list[dict[str, Any]] = []
    came: list[int] = []
    for number in (65530, 65532, 0, 65534, 4):
        came.append(number)
        shown.append({"data": receipts.add(number).hex(), "numbers": sorted(came, key=lambda n: (n + 100) % 65536)})
    golden = {"messages": messages, "damaged": damaged, "receipts": shown}
    Path(__file__).with_name("motion_call.json").write_text(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
