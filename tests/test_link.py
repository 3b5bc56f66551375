import itertools
import statistics

import pytest

from codec.errors import UsageError
from transport.link import Link, LinkSpec


def run(spec: str, count: int = 2000, size: int = 100, spacing: float = 0.04, direction: str = "") -> list[list[float]]:
    """Delays of each of count datagrams, sent at equal distances from time 100 on; the call begins then."""
    link = Link(LinkSpec.parse(spec), direction)
    link.start(100.0)
    return [[at - now for at in link.send(size, now)] for now in (100 + i * spacing for i in range(count))]


def test_parse_reads_every_field() -> None:
    text = (
        "loss=0.25,delay=50,jitter=20,rate=20,outage=5-7+20-22.5,reorder=0.02,duplicate=0.01,burst=3,queue=200,seed=7"
    )
    assert LinkSpec.parse(text) == LinkSpec(
        0.25, 50, 20, 20, ((5, 7), (20, 22.5)), reorder=0.02, duplicate=0.01, burst=3, queue=200, seed=7
    )
    assert LinkSpec.parse("") == LinkSpec()


@pytest.mark.parametrize(
    "text",
    [
        "loss",
        "loss=",
        "loss=much",
        "loss=nan",
        "loss=1.5",
        "loss=0.1,loss=0.2",
        "delay=-1",
        "rate=0",
        "outage=5",
        "outage=7-5",
        "seed=1.5",
        "seed=-1",
        "speed=3",
    ],
)
def test_parse_refuses_with_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--link: "):
        LinkSpec.parse(text)


BAD = "loss=0.2,delay=50,jitter=30,rate=50,reorder=0.1,duplicate=0.1,burst=2,outage=3-4"


def test_one_seed_one_result() -> None:
    assert run(f"{BAD},seed=1") == run(f"{BAD},seed=1")
    assert run(f"{BAD},seed=1") != run(f"{BAD},seed=2")
    assert run(f"{BAD},seed=1", direction="sender") != run(f"{BAD},seed=1", direction="receiver")


def test_what_was_sent_before_the_call_does_not_change_the_pattern() -> None:
    spec = LinkSpec.parse("loss=0.3,seed=5")
    fresh, used = Link(spec), Link(spec)
    for i in range(17):
        used.send(1000, i * 0.001)
    fresh.start(10.0)
    used.start(10.0)
    assert [len(fresh.send(50, 10 + i)) for i in range(500)] == [len(used.send(700, 10 + i)) for i in range(500)]


def test_loss_is_as_often_as_asked_and_comes_in_bursts() -> None:
    for burst in (1, 4):
        lost = [not times for times in run(f"loss=0.25,burst={burst},seed=3", count=20_000)]
        assert 0.23 < statistics.mean(lost) < 0.27
        runs = [len(list(group)) for gone, group in itertools.groupby(lost) if gone]
        expected = 1 / 0.75 if burst == 1 else burst
        assert 0.9 * expected < statistics.mean(runs) < 1.1 * expected


def test_jitter_spreads_delays_and_keeps_the_order() -> None:
    delays = [times[0] for times in run("delay=50,jitter=20,seed=2", spacing=0.1)]
    assert min(delays) >= 0.03 - 1e-9
    assert max(delays) <= 0.07 + 1e-9
    assert max(delays) - min(delays) > 0.03
    close = [i * 0.002 + times[0] for i, times in enumerate(run("delay=50,jitter=20,seed=2", spacing=0.002))]
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(close))


def test_reordered_datagrams_are_overtaken() -> None:
    arrivals = [i * 0.01 + times[0] for i, times in enumerate(run("delay=20,reorder=0.1,seed=1", spacing=0.01))]
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(arrivals))
    assert 0.06 < overtaken / len(arrivals) < 0.14


def test_duplicates_arrive_twice() -> None:
    twice = [len(times) == 2 for times in run("duplicate=0.1,seed=1", count=5000)]
    assert 0.08 < statistics.mean(twice) < 0.12


def test_rate_delivers_no_more_than_it_may_and_the_queue_is_bounded() -> None:
    sent = run("rate=20,queue=500", count=1000, size=125, spacing=0.01)
    arrivals = [i * 0.01 + times[0] for i, times in enumerate(sent) if times]
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert min(gaps) >= 125 * 8 / 20_000 - 1e-9
    assert max(times[0] for times in sent if times) <= 0.5 + 125 * 8 / 20_000 + 1e-9
    assert 0.17 < len(arrivals) / len(sent) < 0.27


def test_outage_counts_from_the_start_of_the_call() -> None:
    times = run("outage=5-7+10-11", count=400)
    lost = {round(i * 0.04, 2) for i, delivered in enumerate(times) if not delivered}
    assert lost == {round(i * 0.04, 2) for i in range(400) if 5 <= i * 0.04 < 7 or 10 <= i * 0.04 < 11}
    before = Link(LinkSpec.parse("outage=0-100"))
    assert before.send(100, 1.0) == (1.0,)
