"""Headwire files: whole, cut off, foreign."""

from fractions import Fraction

import pytest

from codec.errors import BitstreamError, UsageError
from codec.hwfile import Channel, HeadwireReader, HeadwireWriter, Message

MESSAGES = [
    Message(Channel.PHOTOS, b"photo" * 40),
    *(Message(Channel.PARAMETERS, bytes([i]) * 20) for i in range(10)),
    Message(Channel.AUDIO, b"sound"),
]


def written(path, rate=Fraction(25)):
    with HeadwireWriter(path, rate) as writer:
        for message in MESSAGES:
            writer.write(message)
    return path


def test_messages_come_back_in_order(tmp_path):
    reader = HeadwireReader(written(tmp_path / "a.hw", Fraction(30000, 1001)))
    assert list(reader) == MESSAGES
    assert reader.rate == Fraction(30000, 1001)
    assert not reader.truncated
    total = (tmp_path / "a.hw").stat().st_size
    assert reader.header_bytes + sum(len(m.data) for m in MESSAGES) == total


def test_a_file_cut_anywhere_gives_its_whole_records(tmp_path):
    whole = written(tmp_path / "a.hw").read_bytes()
    for size in range(13, len(whole), 7):
        cut = tmp_path / "cut.hw"
        cut.write_bytes(whole[:size])
        reader = HeadwireReader(cut)
        got = list(reader)
        assert got == MESSAGES[: len(got)]
        assert reader.truncated


def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), HeadwireWriter(tmp_path / "a.hw", Fraction(25)):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"HWIR", b"RIFF" + bytes(30), b"HWIR\x01" + bytes(8)])
def test_foreign_files_are_refused(tmp_path, data):
    path = tmp_path / "a.hw"
    path.write_bytes(data)
    with pytest.raises(BitstreamError):
        HeadwireReader(path)


def test_a_newer_version_says_what_to_do(tmp_path):
    path = written(tmp_path / "a.hw")
    data = bytearray(path.read_bytes())
    data[4] = 99
    path.write_bytes(data)
    with pytest.raises(BitstreamError, match=r"version 99.*update"):
        HeadwireReader(path)


def test_missing_files_and_folders_are_the_users(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        HeadwireReader(tmp_path / "none.hw")
    with pytest.raises(UsageError, match="cannot write"):
        HeadwireWriter(tmp_path / "none" / "a.hw", Fraction(25))
