import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from transport import datagrams
from transport.certificate import CIPHERS, short_certificate
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


def test_a_flight_without_an_answer_goes_out_again_until_the_handshake_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "PATIENCE", 0.01)

    async def main() -> None:
        out: list[bytes] = []

        async def send(data: bytes) -> None:
            out.append(data)

        dtls = SimpleNamespace(state="connecting", encrypted=False, transport=SimpleNamespace(_send=send))
        repeats = datagrams._Repeats(cast(Any, dtls))
        repeats.sent([b"one", b"two"])
        async with asyncio.timeout(10):
            while len(out) < 4:
                await asyncio.sleep(0.005)
        assert out[:4] == [b"one", b"two"] * 2
        repeats.sent([b"three"])
        dtls.encrypted = True
        await asyncio.sleep(0.05)
        assert b"three" not in out

    asyncio.run(main())


def test_a_certificate_is_short_and_its_key_is_new_each_time() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    one, two = short_certificate(), short_certificate()
    assert len(one._cert.public_bytes(Encoding.DER)) < 240
    assert one.getFingerprints() != two.getFingerprints()
    assert CIPHERS.startswith(b"ECDHE-ECDSA-CHACHA20-POLY1305")
