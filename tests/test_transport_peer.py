import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TextIO, cast

import msgpack  # type: ignore[import-untyped]
import pytest

from codec.errors import BitstreamError, TransportError
from tests.transport_calls import Seen, call, join, local, until
from transport.control import MAX_BYTES, Control
from transport.keepalive import KeepaliveOptions
from transport.metering import IP_UDP_HEADER
from transport.peer import MAX_PARAMETERS, Handlers, ReceiverPeer, SenderPeer
from transport.peer_base import PeerBase
from transport.signalling import Description, PasteSignalling
from transport.signalling_server import SignallingServer


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(limited())


def complete(seen: Seen) -> Callable[[], object]:
    return lambda: seen.parameters and seen.photos and seen.controls


def noticed(seen: Seen) -> Callable[[], object]:
    return lambda: seen.gone


def test_every_channel_carries_both_ways() -> None:
    async def main() -> None:
        async with call() as c:
            assert (c.sender.hello, c.receiver.hello) == ({"end": 2}, {"end": 1})
            for peer, seen in ((c.sender, c.at_receiver), (c.receiver, c.at_sender)):
                peer.send_parameters(b"p" * MAX_PARAMETERS)
                peer.send_control({"kind": "app", "name": "n", "data": {"a": b"\0"}})
                await peer.send_photo_message(b"f" * 5000)
                await until(complete(seen))
                assert seen.parameters == [b"p" * MAX_PARAMETERS]
                assert seen.photos == [b"f" * 5000]
                assert seen.controls == [{"kind": "app", "name": "n", "data": {"a": b"\0"}}]
            with pytest.raises(ValueError, match="at most"):
                c.sender.send_parameters(b"p" * (MAX_PARAMETERS + 1))

    run(main())


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_either_side_may_start_first(first: str) -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            starts: dict[str, Coroutine[Any, Any, SenderPeer | ReceiverPeer]] = {
                "sender": SenderPeer.connect(one, options=local()),
                "receiver": ReceiverPeer.connect(two, options=local()),
            }
            waiting = asyncio.create_task(starts.pop(first))
            await until(lambda: server.open_rooms)
            (second,) = starts.values()
            peers = await asyncio.gather(waiting, second)
            await asyncio.gather(*(peer.close() for peer in peers), one.close(), two.close())

    run(main())


def test_another_version_is_refused_on_both_ends() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            results = await asyncio.gather(
                SenderPeer.connect(one, options=local()),
                ReceiverPeer.connect(two, options=local(version=99)),
                return_exceptions=True,
            )
            for result in results:
                assert isinstance(result, TransportError)
            assert str(results[0]) == (
                "the receiver refused: it speaks version 99 of the protocol, not 1; use the same Headwire on both ends"
            )
            assert str(results[1]) == (
                "the sender speaks version 1 of the protocol, not 99; use the same Headwire on both ends"
            )
            await asyncio.gather(one.close(), two.close())

    run(main())


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "nonsense",
        "v=0\r\nm=audio x\r\n",
        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 1\r\n",
    ],
)
def test_garbage_instead_of_a_description(sdp: str) -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            connecting = asyncio.create_task(ReceiverPeer.connect(two, options=local()))
            await one.wait_for_peer()
            await one.send(Description("offer", sdp=sdp))
            with pytest.raises((BitstreamError, TransportError)):
                await connecting
            await asyncio.gather(one.close(), two.close())

    run(main())


def test_garbage_on_the_control_channel_is_dropped_and_in_the_end_the_peer_too() -> None:
    async def main() -> None:
        async with call() as c:
            raw = c.receiver._connection.control
            for data in (b"", b"\xc1", b"\xdf\xff\xff\xff\xff", msgpack.packb({"kind": "ping"}), "text"):
                raw.send(data)
            raw.send(msgpack.packb({"kind": "bye", "reason": "x" * MAX_BYTES}))
            c.receiver.send_control({"kind": "app", "name": "still", "data": {}})
            await until(lambda: c.at_sender.controls)
            assert c.sender.invalid_messages == 6
            assert c.sender.alive
            for _ in range(20):
                raw.send(b"\xc1")
            await until(lambda: c.at_sender.gone)
            assert c.at_sender.gone == ["the other side keeps sending messages that are not Headwire's"]

    run(main())


def test_close_is_told_and_frees_everything() -> None:
    async def main() -> None:
        threads = threading.active_count()
        tasks = asyncio.all_tasks()
        async with SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            seen = Seen()
            sender, receiver = await asyncio.gather(
                SenderPeer.connect(one, options=local()),
                ReceiverPeer.connect(two, options=local(), handlers=seen.handlers()),
            )
            await sender.close("the clip has ended")
            await until(lambda: seen.gone)
            assert seen.gone == ["the clip has ended"]
            with pytest.raises(TransportError, match="the clip has ended"):
                await receiver.send_photo_message(b"x")
            receiver.send_parameters(b"x")
            await receiver.close()
            await receiver.close()
            await asyncio.gather(one.close(), two.close())
        await until(lambda: asyncio.all_tasks() <= tasks)
        assert threading.active_count() <= threads + 1

    run(main())


def test_a_new_receiver_in_the_same_room_is_served() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            one = join(server, "sender")
            for number in range(2):
                two = join(server, "receiver")
                seen = Seen()
                sender, receiver = await asyncio.gather(
                    SenderPeer.connect(one, {"n": number}, options=local(), handlers=seen.handlers()),
                    ReceiverPeer.connect(two, options=local()),
                )
                assert receiver.hello == {"n": number}
                await receiver.close()
                await two.close()
                await until(noticed(seen))
                await sender.close()
            await one.close()

    run(main())


def test_a_receiver_that_leaves_during_set_up_was_not_there() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            one, hasty, patient = join(server, "sender"), join(server, "receiver"), join(server, "receiver")
            connecting = asyncio.create_task(SenderPeer.connect(one, options=local()))
            await hasty.wait_for_peer()
            await hasty.receive()
            await hasty.close()
            sender, receiver = await asyncio.gather(connecting, ReceiverPeer.connect(patient, options=local()))
            assert sender.alive
            await asyncio.gather(sender.close(), receiver.close(), one.close(), patient.close())

    run(main())


def test_silence_is_noticed_and_a_hint_shortens_it() -> None:
    async def main() -> None:
        options = local("outage=0.2-100", keepalive=KeepaliveOptions(silence_seconds=1.0, clock_seconds=None))
        async with call(options) as c:
            await until(lambda: c.at_sender.gone and c.at_receiver.gone)
            assert c.at_sender.gone[0].startswith("nothing was heard from the other side for")
        options = local("outage=0.2-100", keepalive=KeepaliveOptions(silence_seconds=60, hint_seconds=0.5))
        async with call(options) as c:
            await asyncio.sleep(0.3)
            await c.receiver_signalling.close()
            await until(lambda: c.at_sender.gone)

    run(main())


def test_the_call_outlives_its_signalling() -> None:
    async def main() -> None:
        options = local(keepalive=KeepaliveOptions(hint_seconds=1.5, clock_seconds=None))
        async with call(options) as c:
            await c.receiver_signalling.close()
            for i in range(60):
                c.sender.send_parameters(bytes([i]))
                await asyncio.sleep(0.04)
            await until(lambda: len(c.at_receiver.parameters) == 60)
            assert c.sender.alive
            assert not c.at_sender.gone

    run(main())


def test_loss_costs_what_is_lost_and_holds_up_nothing() -> None:
    """Parameters between lost ones do not wait for later ones, and photos beside them arrive whole."""

    async def main() -> None:
        newest = 0
        behind: list[int] = []
        async with call(local("loss=0.25,delay=20,seed=4")) as c:
            c.at_receiver.on_parameters = lambda data: behind.append(newest - int.from_bytes(data, "big"))
            photos = asyncio.create_task(send_photos(c.sender, 7))
            for newest in range(150):
                c.sender.send_parameters(newest.to_bytes(2, "big"))
                await asyncio.sleep(0.02)
            await photos
            await until(lambda: len(c.at_receiver.photos) == 7)
        assert 0.6 < len(behind) / 150 < 0.9
        assert sorted(behind)[len(behind) * 9 // 10] <= 5
        assert c.at_receiver.photos == [bytes([i]) * 1000 for i in range(7)]

    run(main())


async def send_photos(peer: SenderPeer, count: int) -> None:
    for i in range(count):
        await peer.send_photo_message(bytes([i]) * 1000)


def test_the_way_back_is_nearly_silent() -> None:
    async def main() -> None:
        async with call() as c:
            back = c.receiver.meter.sent.datagrams
            for _ in range(100):
                c.sender.send_parameters(b"x" * 12)
                await asyncio.sleep(0.01)
            await until(lambda: len(c.at_receiver.parameters) == 100)
            assert c.receiver.meter.sent.datagrams - back < 10
            per_message = c.sender.meter.sent.per_second[0] / c.sender.meter.sent.datagrams
            assert per_message < 12 + 93 + IP_UDP_HEADER

    run(main())


def test_a_record_left_in_the_buffer_does_not_hold_up_the_next() -> None:
    """As after a repeated flight of the handshake: two DTLS records leave in one datagram; both are read."""

    async def main() -> None:
        async with call() as c:
            sctp = c.sender._connection.pc.sctp
            assert sctp is not None
            assert sctp.transport._ssl is not None
            sctp.transport._ssl.send(b"no SCTP packet")
            c.sender.send_parameters(b"hello")
            await until(lambda: c.at_receiver.parameters == [b"hello"], seconds=2)

    run(main())


def test_the_clocks_of_one_machine_agree() -> None:
    async def main() -> None:
        async with call(local(keepalive=KeepaliveOptions(clock_seconds=0.3))) as c:
            await until(lambda: c.receiver.clock.estimate)
            estimate = c.receiver.clock.estimate
            assert estimate is not None
            assert abs(estimate.offset) <= estimate.round_trip
            assert c.receiver.clock.to_local(5.0) == 5.0 - estimate.offset
            assert c.sender.clock.to_local(5.0) is None

    run(main())


class Shown:
    """Takes what an end shows to its user, and carries the code to the other end's standard input."""

    def __init__(self, other_input: int) -> None:
        self._other = os.fdopen(other_input, "w")

    def write(self, text: str) -> None:
        self._other.writelines(f"{line}\n" for line in text.splitlines() if len(line) > 200)

    def flush(self) -> None:
        self._other.flush()


def test_a_call_set_up_by_copy_and_paste() -> None:
    async def main() -> None:
        sender_reads, to_sender = os.pipe()
        receiver_reads, to_receiver = os.pipe()
        one = PasteSignalling("sender", os.fdopen(sender_reads), cast(TextIO, Shown(to_receiver)))
        two = PasteSignalling("receiver", os.fdopen(receiver_reads), cast(TextIO, Shown(to_sender)))
        sender, receiver = await asyncio.gather(
            SenderPeer.connect(one, {"n": 1}, options=local()), ReceiverPeer.connect(two, options=local())
        )
        assert receiver.hello == {"n": 1}
        await asyncio.gather(sender.close(), receiver.close())

    run(main())


def test_photos_leave_before_the_channels_are_open() -> None:
    """Over the ``opus`` carrier two round trips and more sooner; what is said on the control channel meanwhile is not lost."""

    async def main() -> None:
        opened: dict[str, bool] = {}
        said: list[Control] = []

        def begin(peer: PeerBase) -> None:
            opened["sender"] = peer._opened
            assert peer.alive
            peer.send_photo(b"photo")
            peer.send_control({"kind": "start", "time": 1.5})

        photos: list[bytes] = []
        options = local("delay=30")
        async with SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            seen = Handlers(photo=lambda data, _: photos.append(data), control=said.append)
            sender, receiver = await asyncio.gather(
                SenderPeer.connect(one, handlers=Handlers(media=begin), options=options),
                ReceiverPeer.connect(two, handlers=seen, options=options),
            )
            await until(lambda: photos and said)
            assert sender.media_seconds < sender.setup_seconds
            await asyncio.gather(sender.close(), receiver.close())
            await asyncio.gather(one.close(), two.close())
        assert opened == {"sender": False}
        assert photos == [b"photo"]
        assert said == [{"kind": "start", "time": 1.5}]

    run(main())


def test_messages_go_out_once_more_in_the_same_datagram() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), call(local()) as c:
            before = c.sender.meter.sent.datagrams
            sizes = [c.sender.send_parameters(bytes([n]) * 10, echo=2) for n in range(3)]
            assert sizes == [10, 20, 30]
            await until(lambda: len(c.at_receiver.parameters) == 6)
            assert [m[0] for m in c.at_receiver.parameters] == [0, 0, 1, 0, 1, 2]
            assert c.sender.meter.sent.datagrams - before <= 4

    run(main())
