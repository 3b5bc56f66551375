"""``headwire bench rate``: everything that the stream is asked for, in one table: payload, wire, set-up, photos, loss, times.

Payload and loss are computed on the validation people (``rate_payload``); the wire is counted in real calls over localhost
(``wire``), the set-up in a call between two processes over a slow link. ``run`` takes a few minutes; the curve is drawn along.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import rate_figure, wire
from bench.call import DemoSettings, run_demo
from bench.rate_payload import payload
from codec.face_model import FaceModel
from codec.quantiser import Tables
from training.entropy import fitted, steadied

CURVE = Path("docs/images/rate-curve.png")
SETUP_LINK = "rate=20,delay=50,seed=1"
Row = dict[str, Any]

PAYLOADS = (
    ("p99 error < 0.5 px", "lowest-fine", "p99", 1.6),
    ("the same without delay", "normal-clean", "p99", 1.6),
    ("rms error < 0.5 px", "lowest-mid", "rms", 1.1),
    ("the same without delay", "normal-coarse", "rms", 1.1),
    ("rms error < 1 px", "lowest", "rms", 0.6),
)
"""What is asked of the payload, with which rung, which error and kbps."""


def run(curve: Path | None = CURVE, seconds: float = 20.0, thorough: bool = False) -> dict[str, Any]:
    """All figures; ``table``: rows of figure, what was measured, value, unit and what is asked (None: reported only).

    curve: where to draw error against payload and wire. seconds: of each call whose wire is counted. thorough: also what single
    ideas of the codec are worth.
    """
    model, tables = FaceModel.load(), Tables.load()
    raw = fitted("validation", model)
    people = steadied(raw)
    _tell("payload and loss")
    result: dict[str, Any] = {
        "people": len({s.identity for s in people}),
        "frames": sum(len(s.vectors) for s in people),
        "tables_match_model": tables.model_digest == model.digest.hex(),
        "payload": payload(people, raw, tables, model, thorough),
    }
    _tell("the wire: a minute or two")
    result["wire"] = wire.run(seconds)
    _tell("set-up")
    result["set_up"] = set_up()
    if curve is not None:
        _tell("the curve")
        lines = rate_figure.points(people, tables, model)
        on_wire = rate_figure.on_the_wire(lines, overheads(result["wire"]))
        rate_figure.draw(curve, lines, on_wire)
        result["curve"] = {"payload": lines, "wire": on_wire}
    result["table"] = table(result)
    return result


def set_up(link: str = SETUP_LINK) -> dict[str, Any]:
    """A call between two processes over a slow link, from the ends' meeting on."""
    figures = run_demo(DemoSettings(seconds=8, sink="null", link=link, photos_kbps=0, motion="off"), quiet=True)
    names = ("first_picture_s", "first_frame_s", "setup_seconds", "setup_bytes_forward", "setup_bytes_return")
    return {name: figures[name] for name in names}


def overheads(figures: Mapping[str, Any]) -> dict[str, float]:
    """kbps on the wire at 25 messages a second besides the messages, by carrier."""
    sent = wire.RATES["normal"].payload_kbps
    beside = figures["opus normal, beside a voice"]["voice_apart_kbps"]
    return {
        "in the voice's packets": max(0.0, beside - sent),
        "in packets of silence": figures["opus normal"]["forward_kbps"] - sent,
        "data channel": figures["datachannel normal"]["forward_kbps"] - sent,
    }


def table(result: Mapping[str, Any]) -> list[Row]:
    """The rows of what is asked, in its order."""
    coded, calls, start = result["payload"], result["wire"], result["set_up"]
    rungs = coded["rungs"]
    rows: list[Row] = []
    for figure, name, kind, asked in PAYLOADS:
        error = f"`{name}`, {kind} {rungs[name][kind]:.3f}"
        rows.append(_row(f"payload, {figure}", error, rungs[name]["kbps"], "kbps", asked))
    for carrier in ("opus", "datachannel"):
        for name, asked in wire.REACH.items():
            rows.append(
                _row(f"wire forward, `{name}`", carrier, calls[f"{carrier} {name}"]["forward_kbps"], "kbps", asked)
            )
    for name, asked in wire.REACH.items():
        call = calls[f"opus {name}, beside a voice"]
        where = f"opus beside a voice in {call['voice_packet_ms']} ms packets, voice apart"
        rows.append(_row(f"wire forward, `{name}`", where, call["voice_apart_kbps"], "kbps", asked))
    for carrier in ("opus", "datachannel"):
        back = [call["back_kbps"] for name, call in calls.items() if name.startswith(f"{carrier} ")]
        rows.append(_row("wire back", f"{carrier}, the dearest rate", max(back), "kbps", 1.0))
    rows += [
        _row("set-up until the first picture", "round trip 100 ms, 20 kbps", start["first_picture_s"], "s", 3.0),
        _row("set-up until the face moves", "the same", start["first_frame_s"], "s", None),
        _row("bytes of the set-up, forward", "until photos leave", start["setup_bytes_forward"], "bytes", None),
        _row("bytes of the set-up, back", "", start["setup_bytes_return"], "bytes", None),
    ]
    for name, call in calls.items():
        if name.startswith("photo, "):
            limit = 40.0 if "12 kbps" in name and "opus" in name else None
            where = f"{name.removeprefix('photo, ')}; {call['seconds']:.0f} s"
            rows.append(_row("face delayed while 5 kB of photo travel, p95", where, call["added_ms_p95"], "ms", limit))
    for name, loss in coded["loss"].items():
        what = f"`{name}`: {loss['rung']}, {loss['again']} again, echo {loss['echo']}, {loss['kbps']:.2f} kbps"
        rows.append(_row("25 % loss: rms error against no loss", what, loss["rms_ratio"], "times", 1.5))
        rows.append(_row("25 % loss: longest freeze", f"`{name}`", loss["freeze_ms"], "ms", 200.0))
    for name, px in coded["burst_of_10_px"].items():
        usual = rungs[name]["rms"]
        what = f"`{name}`, the second picture after it; usual {usual:.2f}"
        rows.append(_row("10 lost frames: error", what, px[2], "px", round(1.5 * usual, 2)))
    rows += [
        _row(
            "2 s outage: first message after it",
            "opus, 50 ms one way",
            calls["outage of 2 s"]["first_message_ms"],
            "ms",
            300.0,
        ),
        _row("encode a frame", "`normal`, one thread", coded["times_ms"]["encode"], "ms", 0.3),
        _row("decode a frame", "", coded["times_ms"]["decode"], "ms", 0.3),
    ]
    return rows


def _row(figure: str, where: str, value: float, unit: str, asked: float | None) -> Row:
    return {"figure": figure, "where": where, "value": round(value, 3), "unit": unit, "asked": asked,
            "reached": None if asked is None else value <= asked}  # fmt: skip


def text(result: Mapping[str, Any]) -> str:
    """The table as text, and what is behind it in short."""
    rows = [("figure", "where", "measured", "asked", "")]
    for r in result["table"]:
        asked = "" if r["asked"] is None else f"<= {r['asked']:g}"
        mark = {None: "", True: "reached", False: "NOT reached"}[r["reached"]]
        rows.append((r["figure"], r["where"], f"{r['value']:.4g} {r['unit']}", asked, mark))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", "rung            kbps   bits    rms    p99  seen rms  seen p99"]
    lines += [
        f"{n:14} {f['kbps']:5.2f} {f['bits']:6.1f}  {f['rms']:.3f}  {f['p99']:.3f}    {f['seen_rms']:.3f}     {f['seen_p99']:.3f}"
        for n, f in result["payload"]["rungs"].items()
    ]
    lines += ["", *(f"{name}: {figures}" for name, figures in result["wire"].items())]
    return "\n".join(lines)


def report(json_file: Path | None) -> str:
    """Measure, write the figures to a file if one is named, and return the table."""
    result = run()
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    return text(result)


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(report(None))
