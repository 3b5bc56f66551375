"""The table of ``bench rate``: what is asked stands beside what was measured; the curve's points and picture."""

import pytest

from bench import rate, rate_figure, wire
from bench.rate_loss import longest_hold

RUNG = {"kbps": 1.0, "bits": 40.0, "rms": 0.4, "p99": 0.5, "seen_rms": 0.4, "seen_p99": 0.5}
NAMES = ("normal", "normal-clean", "normal-coarse", "low", "lowest", "lowest-mid", "lowest-fine", "robust")


@pytest.fixture
def result():
    calls = {f"{c} {n}": {"forward_kbps": 6.0, "back_kbps": 0.9} for c in ("opus", "datachannel") for n in wire.RATES}
    calls["datachannel normal"] = {"forward_kbps": 20.0, "back_kbps": 2.0}
    for name in wire.RATES:
        beside = {"forward_kbps": 20.0, "back_kbps": 0.8, "voice_apart_kbps": 2.0, "voice_packet_ms": 40}
        calls[f"opus {name}, beside a voice"] = beside
    calls["photo, opus normal, 12 kbps"] = {"seconds": 12.0, "added_ms_p95": 50.0}
    calls["outage of 2 s"] = {"first_message_ms": 60.0}
    loss = {"rung": "low", "again": 1, "echo": 0, "kbps": 2.0, "rms_ratio": 1.2, "freeze_ms": 40.0}
    return {
        "payload": {
            "rungs": dict.fromkeys(NAMES, RUNG),
            "times_ms": {"encode": 0.2, "decode": 0.05},
            "loss": dict.fromkeys(wire.RATES, loss),
            "burst_of_10_px": {"robust": [11.0, 5.0, 0.45, 0.4, 0.4]},
        },
        "wire": calls,
        "set_up": {
            "first_picture_s": 2.5,
            "first_frame_s": 3.1,
            "setup_bytes_forward": 1000,
            "setup_bytes_return": 900,
        },
    }


def test_every_figure_stands_beside_what_is_asked(result):
    rows = rate.table(result)
    by_name = {(row["figure"], row["where"]): row for row in rows}
    assert by_name["wire back", "datachannel, the dearest rate"]["reached"] is False
    assert by_name["wire back", "opus, the dearest rate"]["reached"] is True
    photo = next(row for row in rows if row["figure"].startswith("face delayed"))
    assert (photo["value"], photo["asked"], photo["reached"]) == (50.0, 40.0, False)
    assert next(row for row in rows if row["figure"].startswith("10 lost"))["reached"] is True
    asked = {row["figure"].split(",")[0].split(":")[0] for row in rows if row["asked"] is not None}
    assert {
        "payload",
        "wire forward",
        "wire back",
        "25 % loss",
        "2 s outage",
        "encode a frame",
        "decode a frame",
    } <= asked


def test_the_text_says_what_was_not_reached(result):
    text = rate.text(result | {"table": rate.table(result)})
    assert text.count("NOT reached") == sum(row["reached"] is False for row in rate.table(result)) > 0


def test_the_wire_costs_less_the_more_frames_a_packet_has(result, tmp_path):
    points = [{"kbps": kbps, "rms": rms, "p99": 2 * rms} for kbps, rms in ((2.0, 0.2), (1.0, 0.5))]
    curve = dict.fromkeys(rate_figure.CURVE, points)
    on_wire = rate_figure.on_the_wire(curve, rate.overheads(result["wire"]))
    assert set(on_wire) == {"in the voice's packets", "in packets of silence", "data channel"}
    cheapest = {
        frames: min(p["kbps"] for p in on_wire["data channel"] if p["frames"] == frames) for frames in (1, 2, 4)
    }
    assert cheapest[4] < cheapest[2] < cheapest[1] < 20.0
    rate_figure.draw(tmp_path / "images" / "curve.png", curve, on_wire)
    assert (tmp_path / "images" / "curve.png").stat().st_size > 5000


def test_a_hold_is_counted_in_frames_that_stand_still():
    import numpy as np

    shown = np.array([0, 1, 2, 2, 2, 2, 3, 4, 4], np.float32)[:, None]
    assert longest_hold(shown) == 3
