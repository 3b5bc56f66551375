"""The golden file decodes to the integers that stand beside it: on every machine, with every NumPy and Python."""

import json

from codec.hwfile import HeadwireReader
from codec.inspection import inspect
from tests.golden.make_file import FILE, FRAMES, INTEGERS, LARGEST, integers_of

GOLDEN = json.loads(INTEGERS.read_text())


def test_every_message_decodes_to_its_integers():
    decoded = integers_of(FILE)
    assert len(decoded["messages"]) == len(GOLDEN["messages"])
    for number, (row, wanted) in enumerate(zip(decoded["messages"], GOLDEN["messages"], strict=True)):
        assert row == wanted, f"message {number}"
    assert decoded == GOLDEN


def test_the_golden_file_holds_a_photo_frames_and_a_key():
    rows = GOLDEN["messages"]
    assert {row["channel"] for row in rows} == {"photos", "parameters"}
    assert sum("sha256" in row for row in rows) == 1
    assert any(row.get("stored") for row in rows)
    assert {row["slot"] for row in rows if row["channel"] == "parameters"} == {0, 1}
    assert GOLDEN["frames"] == FRAMES


def test_its_bytes_by_kind_are_those_of_its_messages():
    figures, size = inspect(FILE), FILE.stat().st_size
    for name, channel in (("parameter", "parameters"), ("motion", "motion"), ("reference", "photos")):
        assert figures[f"{name}_bytes"] == sum(r["bytes"] for r in GOLDEN["messages"] if r["channel"] == channel)
    assert figures["frames"] == FRAMES
    assert figures["photos"] == 1
    kinds = ("parameter_bytes", "motion_bytes", "reference_bytes", "audio_bytes", "header_bytes")
    assert sum(figures[k] for k in kinds) == size <= LARGEST


def test_a_golden_file_cut_anywhere_gives_its_first_messages(tmp_path):
    whole, messages = FILE.read_bytes(), list(HeadwireReader(FILE))
    cut = tmp_path / "cut.hw"
    for size in range(13, len(whole), 101):
        cut.write_bytes(whole[:size])
        reader = HeadwireReader(cut)
        got = list(reader)
        assert reader.truncated
        assert got == messages[: len(got)]
        assert sum(3 + len(m.data) for m in got) > size - 13 - 1010
