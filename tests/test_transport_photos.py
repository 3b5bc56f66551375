import asyncio
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.parameters import Camera, FrameParameters
from codec.photo import Photo, opens_session
from sender.photo_queue import PhotoQueue
from tests.transport_calls import Seen, call, join, local, until
from transport.blocks import BLOCK, BlockReceiver, BlockSender
from transport.carriers import DATA_CHANNEL, OPUS
from transport.feedback import LinkState, Report
from transport.keepalive import KeepaliveOptions
from transport.pacing import PhotoPacer
from transport.peer import ReceiverPeer, SenderPeer
from transport.photos import MAX_KNOWN, MAX_PHOTO, Inbox, Outbox, key_of
from transport.signalling_server import SignallingServer

ZEROS = np.zeros(3, np.float32)


def photo(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def drain(outbox: Outbox, inbox: Inbox, pieces: int = 10_000) -> list[bytes]:
    """Hand over pieces, split where it hurts."""
    whole: list[bytes] = []
    for _ in range(pieces):
        piece = outbox.take()
        if piece is None:
            break
        for at in range(0, len(piece), 7):
            whole += inbox.feed(piece[at : at + 7])
    return whole


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=5))
def test_photos_come_whole_and_in_order(sizes: list[int]) -> None:
    photos = [photo(size, seed) for seed, size in enumerate(sizes)]
    outbox = Outbox()
    transfers = [outbox.send(data) for data in photos]
    assert drain(outbox, Inbox()) == photos
    assert not any(transfer.done for transfer in transfers)
    outbox.settle(10**6)
    assert all(transfer.done for transfer in transfers)
    assert not outbox.busy


def test_a_cancelled_photo_makes_room_for_the_next() -> None:
    outbox, inbox = Outbox(), Inbox()
    first, second, third = (outbox.send(photo(2000, seed)) for seed in range(3))
    assert drain(outbox, inbox, pieces=3) == []
    first.cancel()
    second.cancel()
    assert drain(outbox, inbox) == [third.data]
    assert inbox.restart() == {}


def test_a_new_connection_goes_on_where_the_old_one_ended() -> None:
    inbox, data = Inbox(), photo(5000)
    before = Outbox()
    before.send(data)
    assert drain(before, inbox, pieces=12) == []
    partial = inbox.restart()
    assert 1900 < next(iter(partial.values())) < 2200
    after = Outbox(partial)
    transfer = after.send(data)
    other = after.send(photo(100, 1))
    assert drain(after, inbox) == [data, other.data]
    assert transfer.resumed_at == next(iter(partial.values()))


def test_a_resumed_photo_of_other_content_is_not_mixed() -> None:
    inbox = Inbox()
    before = Outbox()
    before.send(photo(5000, 1))
    drain(before, inbox, pieces=5)
    after = Outbox(inbox.restart())
    assert drain(after, inbox) == []
    after.send(photo(5000, 2))
    assert drain(after, inbox) == [photo(5000, 2)]


@given(st.binary(max_size=300))
def test_any_bytes_are_pieces_or_refused(data: bytes) -> None:
    inbox = Inbox()
    try:
        for whole in inbox.feed(data):
            assert len(whole) <= MAX_PHOTO
    except BitstreamError:
        return


@given(st.integers(0, 2**32), st.floats(0, 0.6))
def test_blocks_survive_loss_reordering_and_duplication(seed: int, loss: float) -> None:
    chance = random.Random(seed)
    sender, receiver = BlockSender(), BlockReceiver()
    data = photo(3000, seed)
    sender.append(data[:1777])
    sender.append(data[1777:])
    got = b""
    now, packet = 0.0, 0
    under_way: list[tuple[float, bytes]] = []
    while sender.waiting and packet < 5000:
        now, packet = now + 0.04, packet + 1
        chunk = sender.take(chance.randint(1, 4), packet, now)
        if chunk is not None:
            for _ in range(chance.choice([1, 1, 1, 2])):
                if chance.random() >= loss:
                    under_way.append((now + 0.05 + 0.1 * chance.random(), chunk))
        for due in [item for item in under_way if item[0] <= now]:
            under_way.remove(due)
            got += b"".join(receiver.add(due[1]))
        if packet % 7 == 0 and chance.random() >= loss:
            sender.acknowledge(*receiver.state(), packet - 2, now)
    assert got == data
    assert sender.acknowledged == sender.appended == 3000


@given(st.binary(max_size=100))
def test_any_chunk_is_taken_or_refused(data: bytes) -> None:
    receiver = BlockReceiver()
    try:
        assert len(b"".join(receiver.add(data))) <= len(data)
    except BitstreamError:
        assert receiver.state() == (0, b"")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        report = Report.parse(data)
    except BitstreamError:
        return
    assert Report.parse(report.pack()) == report


def test_beside_a_face_a_photo_takes_what_is_free() -> None:
    """A link of 12 kbps, of which the face takes 6: the photo gets nearly the rest, in parts of at most 34 ms."""
    pacer = PhotoPacer()
    assert pacer.allowance(0.0) > 1, "nothing is known yet, and nobody is delayed"
    taken = most = 0
    for step in range(1, 250):
        now = step * 0.08
        pacer.face(now)
        blocks = pacer.allowance(now)
        pacer.spent(blocks * BLOCK)
        pacer.sent(60 + blocks * BLOCK, now)
        taken, most = taken + blocks, max(most, blocks)
        if step % 4 == 0:
            pacer.update(LinkState(now, 0.0, 0.024, 10.0, 10.0, 0.2, floor_kbps=12.0))
    assert most == 1
    assert 2.0 < taken * BLOCK * 8 / 1000 / 20 < 4.0


def test_a_queue_makes_the_photo_yield() -> None:
    pacer = PhotoPacer()
    pacer.face(0.0)
    pacer.kbps = 20.0
    for step in range(12):
        now = step * 0.25
        pacer.face(now)
        pacer.update(LinkState(now, 0.0, 0.2, 12.0, 20.0, 0.3))
    assert pacer.kbps < 3.0


def arrived(seen: Seen, count: int) -> Callable[[], object]:
    return lambda: len(seen.photos) == count


@pytest.mark.parametrize("carrier", [OPUS, DATA_CHANNEL])
def test_photos_beside_a_face_on_a_bad_link(carrier: str) -> None:
    """Whole, in order, acknowledged; one is cancelled; an outage in between."""

    async def main() -> None:
        options = local("loss=0.15,delay=20,rate=60,outage=0.4-0.9,seed=5", carriers=(carrier,))
        async with asyncio.timeout(40), call(options) as c:
            assert c.sender.carrier == c.receiver.carrier == carrier
            face = asyncio.create_task(keep_talking(c.sender))
            sent = [c.sender.send_photo(photo(1500, seed)) for seed in range(4)]
            sent[2].cancel()
            await until(arrived(c.at_receiver, 3), 30)
            assert c.at_receiver.photos == [sent[0].data, sent[1].data, sent[3].data]
            assert await sent[3].wait()
            assert not await sent[2].wait()
            face.cancel()

    asyncio.run(main())


def both_gone(one: Seen, other: Seen) -> Callable[[], object]:
    return lambda: one.gone and other.gone


async def keep_talking(peer: SenderPeer) -> None:
    while True:
        peer.send_parameters(b"face" * 3)
        await asyncio.sleep(0.04)


def test_a_photo_goes_on_after_a_new_connection() -> None:
    async def main() -> None:
        inbox, data = Inbox(), photo(20_000)
        options = local("rate=60,delay=20,seed=1")
        async with asyncio.timeout(40), SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            sender, receiver = await asyncio.gather(
                SenderPeer.connect(one, options=options), ReceiverPeer.connect(two, options=options, inbox=inbox)
            )
            cut = sender.send_photo(data)
            await until(lambda: cut.acknowledged > 3000)
            await asyncio.gather(sender.close(), receiver.close())
            assert not await cut.wait()
            seen = Seen()
            sender, receiver = await asyncio.gather(
                SenderPeer.connect(one, options=options),
                ReceiverPeer.connect(two, options=options, inbox=inbox, handlers=seen.handlers()),
            )
            again = sender.send_photo(data)
            await until(lambda: seen.photos)
            assert seen.photos == [data]
            assert again.resumed_at > 3000
            await asyncio.gather(sender.close(), receiver.close(), one.close(), two.close())

    asyncio.run(main())


def test_what_was_whole_is_kept_for_the_next_connection_if_it_will_come_again() -> None:
    chunk, other = b"\x13\x00" + photo(900), photo(900, 1)
    inbox = Inbox(opens_session)
    before = Outbox()
    before.send(chunk)
    before.send(other)
    assert drain(before, inbox) == [chunk, other]
    known = inbox.restart()
    assert list(known.values()) == [len(chunk)]
    after = Outbox(known)
    again = after.send(chunk)
    assert drain(after, inbox) == [chunk]
    assert inbox.resumed == again.resumed_at == len(chunk) - 1


def test_what_is_kept_is_bounded() -> None:
    inbox, outbox = Inbox(lambda data: True), Outbox()
    for seed in range(40):
        outbox.send(photo(1500, seed))
    assert len(drain(outbox, inbox)) == 40
    known = inbox.restart()
    assert len(known) <= MAX_KNOWN
    assert sum(known.values()) <= 32 * 1024
    assert key_of(photo(1500, 39)) in known


def test_a_photo_cannot_go_on_at_its_end() -> None:
    chunk = photo(100)
    inbox, outbox = Inbox(lambda data: True), Outbox()
    outbox.send(chunk)
    drain(outbox, inbox)
    inbox.restart()
    begin = b"\1" + (100).to_bytes(4, "big") + key_of(chunk) + (100).to_bytes(4, "big")
    with pytest.raises(BitstreamError):
        inbox.feed(begin)


@pytest.mark.parametrize("carrier", [OPUS, DATA_CHANNEL])
def test_an_outage_that_ends_a_connection_costs_no_second_photo(carrier: str) -> None:
    """Half of the photo is there when the link dies. Both ends notice and meet again; only the rest travels."""

    async def main() -> None:
        coded = Photo(0, 0, photo(9000), FrameParameters(np.zeros(28, np.float32), Camera(80.0, ZEROS, ZEROS)))
        messages = coded.messages()
        inbox, queue = Inbox(opens_session), PhotoQueue()
        sending = asyncio.create_task(queue.run())
        quick = KeepaliveOptions(silence_seconds=1.0, clock_seconds=None)
        dead = local("rate=24,delay=20,queue=300,outage=1.5-60,seed=1", keepalive=quick, carriers=(carrier,))
        sound = local("rate=24,delay=20,queue=300,seed=1", carriers=(carrier,))
        async with asyncio.timeout(60), SignallingServer(port=0) as server:
            one, two = join(server, "sender"), join(server, "receiver")
            got: list[list[bytes]] = []
            for options in (dead, sound):
                at_sender, at_receiver = Seen(), Seen()
                sender, receiver = await asyncio.gather(
                    SenderPeer.connect(one, options=options, handlers=at_sender.handlers()),
                    ReceiverPeer.connect(two, options=options, inbox=inbox, handlers=at_receiver.handlers()),
                )
                got.append(at_receiver.photos)
                queue.connected(sender)
                for message in messages:
                    queue.put(message)
                if options is dead:
                    await until(both_gone(at_sender, at_receiver))
                    queue.disconnected()
                else:
                    await until(arrived(at_receiver, len(messages)))
                await asyncio.gather(sender.close(), receiver.close())
            sending.cancel()
            await asyncio.gather(one.close(), two.close())
        assert 1 < len(got[0]) < len(messages) - 1
        assert got[1] == messages
        assert inbox.resumed > 900 * (len(got[0]) - 1)

    asyncio.run(main())
