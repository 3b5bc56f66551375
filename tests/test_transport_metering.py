import asyncio
from typing import Any

import pytest

from transport.link import Link, LinkSpec
from transport.metering import Meter
from transport.statistics import wire_figures

LOOPBACK = ("127.0.0.1", 0)


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.messages.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


async def open_pair(meter: Meter) -> tuple[asyncio.DatagramTransport, Inbox, asyncio.DatagramTransport, Inbox]:
    """A metered endpoint and one that is not."""
    loop = asyncio.get_running_loop()
    with meter.attach():
        near, near_inbox = await loop.create_datagram_endpoint(Inbox, local_addr=LOOPBACK)
    far, far_inbox = await loop.create_datagram_endpoint(Inbox, local_addr=LOOPBACK)
    return near, near_inbox, far, far_inbox


def address(transport: asyncio.DatagramTransport) -> tuple[str, int]:
    host, port = transport.get_extra_info("sockname")
    return host, port


def test_counts_both_directions_with_headers() -> None:
    async def main() -> None:
        meter = Meter()
        near, near_inbox, far, far_inbox = await open_pair(meter)
        near.sendto(b"x" * 100, address(far))
        await far_inbox.messages.get()
        meter.connected()
        near.sendto(b"y", address(far))
        far.sendto(b"z" * 20, address(near))
        assert await near_inbox.messages.get() == b"z" * 20
        assert (meter.sent.datagrams, meter.sent.bytes, meter.sent.setup_bytes) == (2, 128 + 29, 128)
        assert (meter.received.datagrams, meter.received.bytes, meter.received.setup_bytes) == (1, 48, 0)
        assert sum(meter.sent.per_second) == 29
        near.close()
        far.close()

    asyncio.run(main())


def test_endpoints_of_other_contexts_are_left_alone() -> None:
    async def main() -> None:
        one, two = Meter(), Meter()
        near, _, far, far_inbox = await open_pair(one)
        with two.attach():
            other, _ = await asyncio.get_running_loop().create_datagram_endpoint(Inbox, local_addr=LOOPBACK)
        other.sendto(b"abc", address(far))
        await far_inbox.messages.get()
        assert (one.sent.datagrams, two.sent.datagrams) == (0, 1)
        for transport in (near, far, other):
            transport.close()

    asyncio.run(main())


def test_link_drops_doubles_and_delays_and_close_waits_for_it() -> None:
    async def main() -> None:
        meter = Meter(Link(LinkSpec.parse("delay=80,outage=0-100")))
        near, near_inbox, far, far_inbox = await open_pair(meter)
        near.sendto(b"late", address(far))
        near.close()
        assert near.is_closing()
        assert far_inbox.messages.empty()
        assert await asyncio.wait_for(far_inbox.messages.get(), 5) == b"late"
        await asyncio.wait_for(near_inbox.closed.wait(), 5)
        far.close()

        lossy = Meter(Link(LinkSpec.parse("duplicate=1,outage=0-100")))
        near, _, far, far_inbox = await open_pair(lossy)
        near.sendto(b"twice", address(far))
        assert [await asyncio.wait_for(far_inbox.messages.get(), 5) for _ in range(2)] == [b"twice"] * 2
        lossy.connected()
        near.sendto(b"lost", address(far))
        await asyncio.sleep(0.1)
        assert far_inbox.messages.empty()
        assert lossy.sent.datagrams == 2
        near.close()
        far.close()

    asyncio.run(main())


def test_wire_figures_of_both_ends() -> None:
    now = 50.0
    meter = Meter(clock=lambda: now)
    meter.sent.count(972, now, None)
    meter.connected()
    for second in range(10):
        now = 50.5 + second
        meter.sent.count(972 if second < 5 else 97, now, meter.start)
        meter.received.count(72, now, meter.start)
    now = 60.0
    meter.finished()
    now = 100.0
    figures = wire_figures(meter, "sender")
    assert figures.wire_kbps_forward == pytest.approx((6 * 1000 + 5 * 125) * 8 / 1000 / 10)
    assert figures.wire_kbps_steady == pytest.approx(1.0)
    assert figures.wire_kbps_return == pytest.approx(0.8)
    assert figures.setup_bytes_forward == 1000
    mirrored = wire_figures(meter, "receiver")
    assert mirrored.wire_kbps_return == figures.wire_kbps_forward
    assert mirrored.wire_kbps_forward == figures.wire_kbps_return


def test_a_short_call_has_no_steady_rate() -> None:
    now = 1.0
    meter = Meter(clock=lambda: now)
    meter.connected()
    now = 5.0
    assert meter.seconds == 4.0
    assert wire_figures(meter, "sender").wire_kbps_steady is None
