import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from tests.test_transport_audio import chirp, write_sound
from tests.transport_calls import Seen, call, join, local, until
from transport.audio import FileAudioTrack, Samples, VoiceOptions
from transport.carriers import DATA_CHANNEL, FACE, OPUS, PHOTO, CarrierTrack, choose, unload
from transport.feedback import CALM, MAX_KEYS, OVERTAKEN, LinkMeter, LinkState, Report, Reporter
from transport.opus_extension import OpusPacket
from transport.peer import Handlers, ReceiverPeer, SenderPeer
from transport.signalling_server import SignallingServer


def test_what_both_offer_is_chosen() -> None:
    assert choose([OPUS, DATA_CHANNEL], [DATA_CHANNEL, OPUS]) == OPUS
    assert choose([DATA_CHANNEL, OPUS], [OPUS, DATA_CHANNEL]) == DATA_CHANNEL
    assert choose([OPUS], []) == DATA_CHANNEL
    assert choose(["pigeon", 7, OPUS], ["pigeon", OPUS]) == OPUS


@pytest.mark.parametrize(
    ("ours", "theirs"), [((OPUS, DATA_CHANNEL), (DATA_CHANNEL,)), ((DATA_CHANNEL,), (OPUS,)), ((), ())]
)
def test_an_end_without_the_opus_carrier_gets_a_data_channel(ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), SignallingServer(port=0) as server:
            one, two, seen = join(server, "sender"), join(server, "receiver"), Seen()
            told: list[bytes] = []
            sender, receiver = await asyncio.gather(
                SenderPeer.connect(one, options=local(carriers=ours), handlers=Handlers(key_ack=told.append)),
                ReceiverPeer.connect(two, options=local(carriers=theirs), handlers=seen.handlers()),
            )
            assert sender.carrier == receiver.carrier == DATA_CHANNEL
            sender.send_parameters(b"face")
            receiver.send_key_ack(b"one")
            receiver.send_key_ack(b"two")
            await until(lambda: seen.parameters and len(told) == 2)
            assert told == [b"one", b"two"]
            await asyncio.gather(sender.close(), receiver.close(), one.close(), two.close())

    asyncio.run(main())


def test_without_a_voice_silence_is_the_vehicle() -> None:
    async def main() -> None:
        async with asyncio.timeout(20), call() as c:
            assert c.sender.carrier == OPUS
            before = c.sender.meter.sent.bytes, c.sender.meter.sent.datagrams
            for number in range(25):
                c.sender.send_parameters(bytes([number]) * 8)
                await asyncio.sleep(0.04)
            await until(lambda: len(c.at_receiver.parameters) == 25)
            assert c.at_receiver.parameters == [bytes([number]) * 8 for number in range(25)]
            assert not c.at_receiver.audio
            datagrams = c.sender.meter.sent.datagrams - before[1]
            assert datagrams <= 27
            per_message = (c.sender.meter.sent.bytes - before[0]) / datagrams
            assert per_message < 8 + 4 + 44 + 4

    asyncio.run(main())


def test_beside_a_voice_the_face_costs_a_few_bytes_and_the_voice_is_the_same(tmp_path: Path) -> None:
    """The same voice with and without a face beside it: what is heard is equal, sample for sample."""

    async def heard(face: bool) -> tuple[Samples, int, int]:
        voice = FileAudioTrack(tmp_path / "voice.wav", VoiceOptions(bit_rate=12_000, packet_ms=40))
        async with asyncio.timeout(20), call(audio=voice) as c:
            voice.begin(asyncio.get_running_loop().time())
            for number in range(40):
                if face:
                    c.sender.send_parameters(number.to_bytes(8, "big"))
                await asyncio.sleep(0.04)
            await until(lambda: voice.readyState == "ended")
            await asyncio.sleep(0.2)
            sound = np.concatenate([chunk.samples for chunk in c.at_receiver.audio])
            if face:
                c.sender.send_parameters(b"after the voice")
                await until(lambda: len(c.at_receiver.parameters) == 41)
            return sound, c.sender.meter.sent.bytes - c.sender.meter.sent.setup_bytes, len(c.at_receiver.parameters)

    async def main() -> None:
        alone, cost_alone, _ = await heard(False)
        both, cost, count = await heard(True)
        assert count == 41
        assert len(alone) > 48_000
        assert np.array_equal(alone, both)
        assert cost - cost_alone < 40 * (8 + 3 + 6) + 400

    write_sound(tmp_path / "voice.wav", chirp(1.5))
    asyncio.run(main())


def test_what_is_unloaded_is_plain_opus() -> None:
    async def main() -> None:
        track = CarrierTrack()
        track.send(b"one")
        track.send(b"two")
        packet = await track.recv()
        sound, riding = unload(bytes(packet))
        assert sound == OpusPacket(23, False, (b"",) * 6)
        assert [(extension.number, extension.data) for extension in riding] == [(FACE, b"one"), (FACE, b"two")]
        track.stop()
        with pytest.raises(MediaStreamError):
            await track.recv()

    assert FACE != PHOTO
    asyncio.run(main())


def test_keys_are_acknowledged_and_the_way_back_stays_small() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), call(local("loss=0.2,delay=20,seed=2")) as c:
            keys: list[bytes] = []
            c.sender._opus.on_key = keys.append  # type: ignore[union-attr]
            back = c.receiver.meter.sent.bytes
            for number in range(100):
                c.sender.send_parameters(bytes(12))
                if number % 25 == 0:
                    c.receiver.send_key_ack(bytes([number]))
                await asyncio.sleep(0.04)
            await asyncio.sleep(2 * CALM)
            assert len(set(keys)) >= 3
            assert (c.receiver.meter.sent.bytes - back) * 8 / 1000 / (4 + 2 * CALM) < 1.6
            with pytest.raises(ValueError, match="1 to 8"):
                c.receiver.send_key_ack(bytes(9))

    asyncio.run(main())


def test_reports_say_loss_queueing_and_what_gets_through() -> None:
    """10 packets a second of 100 bytes; every fifth is lost; a queue of 80 ms builds up in the second half."""
    meter, reporter, states = LinkMeter(), Reporter(), []
    for number in range(200):
        now = 50 + number / 10
        meter.sent(65500 + number & 0xFFFF, 100, now)
        if number % 5 == 0:
            continue
        arrival = now + 1234.5 + (0.08 if number >= 100 else 0.0)
        reporter.packet(65500 + number & 0xFFFF, now, 56, arrival)
        due = reporter.due()
        if due is not None and due <= arrival:
            state = meter.report(Report.parse(reporter.report(arrival)), now + 0.1)
            if state is not None:
                states.append(state)
    early, late = states[2], states[-1]
    assert 0.1 < early.loss < 0.3
    assert early.queueing < 0.002
    assert late.queueing == pytest.approx(0.08, abs=0.003)
    assert not early.busy
    assert late.busy
    assert early.delivered_kbps == pytest.approx(0.8 * early.sent_kbps, rel=0.15)


def test_the_first_gap_for_some_time_is_reported_at_once() -> None:
    """Not a packet that was only overtaken within a moment, and not each of many losses."""
    reporter, at = Reporter(), []
    for number in range(1000):
        now = number * 0.04
        if number % 10 == 9 and number > 500:
            continue
        reporter.packet(number, now, 50, now)
        due = reporter.due()
        if due is not None and due <= now + 0.04:
            at.append(max(due, now))
            reporter.report(at[-1])
    first_loss = 510 * 0.04
    assert min(abs(t - first_loss - OVERTAKEN) for t in at) < 0.001
    late = [t for t in at if t > first_loss + 0.5]
    assert np.diff(late).min() > CALM - 0.05


def test_a_report_of_what_was_never_sent_is_nothing() -> None:
    meter = LinkMeter()
    assert meter.report(Report(1, 2, 3, 4, 5, 6), 1.0) is None
    meter.sent(1, 60, 0.0)
    assert meter.report(Report(1, 2, 3, 4, 5, 6), 1.0) is None
    state = meter.report(Report(1, 2, 65535, 65535, 255, 6), 1.0)
    assert state is not None
    assert 0 <= state.loss <= 1


def test_a_data_channel_tells_the_link_by_its_acknowledgements() -> None:
    """20 kbps into a link of 10, then into one that loses a quarter."""

    async def states(link: str, seconds: float) -> list[LinkState]:
        told: list[LinkState] = []
        async with asyncio.timeout(20), call(local(link, carriers=(DATA_CHANNEL,))) as c:
            connection = c.sender._connection
            connection.watch_link(told.append)
            for _ in range(round(seconds / 0.04)):
                c.sender.send_parameters(bytes(8))
                await asyncio.sleep(0.04)
        return told

    async def main() -> None:
        narrow, lossy = await asyncio.gather(states("rate=10,delay=20", 4), states("loss=0.25,delay=20,seed=3", 5))
        assert narrow[-1].queueing > 0.2
        assert 6 < narrow[-1].delivered_kbps < 13
        assert 0.1 < sum(state.loss for state in lossy) / len(lossy) < 0.45
        assert min(state.queueing for state in lossy) < 0.05

    asyncio.run(main())


@pytest.mark.parametrize("carriers", [(OPUS,), (DATA_CHANNEL,)])
def test_the_newest_receipt_comes_back_beside_keys_at_no_more_messages(carriers: tuple[str, ...]) -> None:
    async def main() -> None:
        told: list[bytes] = []
        async with asyncio.timeout(30), call(local(carriers=carriers)) as c:
            c.sender._handlers = Handlers(key_ack=told.append)
            before, began = c.receiver.meter.sent.datagrams, time.monotonic()
            for number in range(75):
                c.sender.send_parameters(bytes(8))
                await asyncio.sleep(0.04)
                c.receiver.send_receipt(bytes([255] * 7 + [number]))
                if number % 25 == 0:
                    c.receiver.send_key_ack(bytes([number]))
            await until(lambda: any(data[7:] == b"\x4a" for data in told))
            reports = (time.monotonic() - began) / CALM + 2
            numbers = [data[7] for data in told if len(data) == 8]
            assert 2 <= len(numbers) <= reports
            assert numbers == sorted(set(numbers))
            assert {data[0] for data in told if len(data) == 1} == {0, 25, 50}
            if carriers == (OPUS,):
                assert c.receiver.meter.sent.datagrams - before < reports + 8
            with pytest.raises(ValueError, match="1 to 8"):
                c.receiver.send_receipt(b"")

    asyncio.run(main())


def test_a_receipt_has_room_beside_the_most_keys() -> None:
    reporter = Reporter()
    reporter.packet(1, 0.0, 50, 0.0)
    for number in range(6):
        reporter.key(bytes([number] * 8))
    reporter.receipt(b"receipt.")
    keys = Report.parse(reporter.report(1.0)).keys
    assert len(keys) == MAX_KEYS
    assert keys[-1] == b"receipt."
    assert b"receipt." not in Report.parse(reporter.report(2.0)).keys


def test_a_photo_that_does_not_ride_after_all_sends_no_packet() -> None:
    """A lane that wants to send and then has nothing must not fill the link with empty packets."""

    class Undecided:
        asked = 0

        def ready_at(self, now: float) -> float | None:
            return now

        def chunk(self, now: float, packet: int, room: int) -> bytes | None:
            self.asked += 1
            return b"\0\0block" if self.asked == 3 else None

    async def main() -> None:
        track = CarrierTrack()
        track.photos = lane = Undecided()
        async with asyncio.timeout(10):
            packet = await track.recv()
        assert [extension.data for extension in unload(bytes(packet))[1]] == [b"\0\0block"]
        assert (track.packets, lane.asked) == (1, 3)
        track.stop()

    asyncio.run(main())


def test_acknowledgements_ride_beside_parameters() -> None:
    """Twenty control messages come while the face talks: hardly one is answered with a datagram of its own."""

    async def main() -> None:
        async with asyncio.timeout(30), call(local(carriers=(DATA_CHANNEL,))) as c:
            c.sender.send_parameters(bytes(8))
            await asyncio.sleep(0.3)
            before = c.sender.meter.sent.datagrams
            for number in range(50):
                c.sender.send_parameters(bytes(8))
                if number % 2 and number < 40:
                    c.receiver.send_control({"kind": "photo", "id": number})
                await asyncio.sleep(0.04)
            await until(lambda: len(c.at_sender.controls) == 20)
            await asyncio.sleep(0.3)
            assert len(c.at_receiver.parameters) == 51
            assert c.sender.meter.sent.datagrams - before < 50 + 8

    asyncio.run(main())
