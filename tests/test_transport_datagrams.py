from transport.datagrams import group_records


def record(size: int) -> bytes:
    """A DTLS record with a header of 13 bytes and so many bytes in all."""
    return b"\x16\xfe\xfd" + bytes(8) + (size - 13).to_bytes(2, "big") + b"\xaa" * (size - 13)


def test_records_stay_whole_and_are_grouped() -> None:
    records = [record(size) for size in (100, 1000, 150, 1300, 13, 20)]
    groups = list(group_records(b"".join(records), limit=1200))
    assert groups == [
        records[0] + records[1],
        records[2],
        records[3],
        records[4] + records[5],
    ]
    assert list(group_records(b"")) == []
    assert list(group_records(records[0])) == [records[0]]
