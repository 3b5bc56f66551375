"""The controller on simulated links: messages of the chosen rung through ``Link``, reports back."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from transport.feedback import LinkMeter, LinkState, Report, Reporter
from transport.link import Link, LinkSpec
from transport.rate_control import FIELDS, LADDERS, RateController, Rung, with_field

LADDER = LADDERS["opus"]


@dataclass
class Trace:
    """changes: (time, rung). delays: (time sent, s) of what arrived; sent: times."""

    changes: list[tuple[float, int]]
    delays: list[tuple[float, float]] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    states: list[LinkState] = field(default_factory=list)

    def rung_at(self, time: float) -> int:
        return [rung for at, rung in self.changes if at <= time][-1]

    def late(self, after: float, limit: float) -> float:
        """Share of messages sent after some time that are lost or later than limit, s."""
        arrived = [delay for at, delay in self.delays if at >= after and delay <= limit]
        return 1 - len(arrived) / sum(at >= after for at in self.sent)


def simulate(specs: list[tuple[float, str]], seconds: float, start: int = 0, seed: int = 1) -> Trace:
    """specs: (from when on, link). What the rungs cost is sent in packets at their pace, on a clock of 1 ms."""
    links = [(at, Link(LinkSpec.parse(f"{text},seed={seed}"))) for at, text in specs]
    back = Link(LinkSpec.parse("delay=50"))
    controller, meter, reporter = RateController(LADDER, start), LinkMeter(), Reporter()
    trace = Trace([(0.0, start)])
    arrivals: list[tuple[float, int, float, int]] = []
    reports: list[tuple[float, bytes]] = []
    next_at, sequence = 0.0, 100
    for tick in range(round(seconds * 1000)):
        now = tick / 1000
        if now >= next_at:
            rung: Rung = LADDER[controller.rung]
            apart = rung.bundle / rung.frame_rate
            size = round(rung.wire_kbps * 125 * apart)
            next_at, sequence = now + apart, (sequence + 1) % 0x10000
            link = [link for at, link in links if at <= now][-1]
            meter.sent(sequence, size, now)
            trace.sent.append(now)
            arrivals += [(at, sequence, now, size) for at in link.send(size, now)]
            arrivals.sort()
        while arrivals and arrivals[0][0] <= now:
            at, number, sent, size = arrivals.pop(0)
            reporter.packet(number, sent + 7, size - 44, at)
            trace.delays.append((sent, at - sent))
        due = reporter.due()
        if due is not None and due <= now:
            reports += [(at, reporter.report(now)) for at in back.send(80, now)]
        while reports and reports[0][0] <= now:
            state = meter.report(Report.parse(reports.pop(0)[1]), now)
            if state is not None:
                trace.states.append(state)
                if controller.update(state) != trace.changes[-1][1]:
                    trace.changes.append((now, controller.rung))
    return trace


def test_a_good_link_keeps_the_best_rung() -> None:
    for spec in ("delay=30", "delay=300,jitter=40", "loss=0.25,delay=50,jitter=30", "loss=0.2,burst=5", "rate=30"):
        assert simulate([(0, spec)], 60).changes == [(0.0, 0)]


@pytest.mark.parametrize(("kbps", "best"), [(8, 1), (4, 2), (2.5, 3)])
def test_a_narrow_link_gets_what_it_carries_within_two_seconds(kbps: float, best: int) -> None:
    trace = simulate([(0, "rate=60,delay=50"), (20, f"rate={kbps},delay=50,queue=3000")], 60)
    assert trace.rung_at(19.9) == 0
    reacted = next(at for at, rung in trace.changes if rung > 0)
    assert reacted <= 22
    assert trace.rung_at(24.5) >= best
    assert trace.rung_at(59.9) == best


def test_eight_kbps_carry_a_smooth_call_and_four_a_usable_one() -> None:
    smooth = simulate([(0, "rate=8,delay=50")], 120)
    assert {rung for at, rung in smooth.changes if at > 10} <= {0, 1}
    assert smooth.late(10, 0.4) < 0.06
    usable = simulate([(0, "rate=4,delay=50")], 120)
    assert {rung for at, rung in usable.changes if at > 6} <= {1, 2, 3}
    assert usable.late(10, 0.7) < 0.1


def test_it_does_not_oscillate() -> None:
    """Trials of the next rung become rare: half an hour has about as many as two minutes."""
    for kbps in (4, 5, 8, 10, 11.5):
        trace = simulate([(0, f"rate={kbps},delay=50")], 900)
        ups = [at for (at, rung), (_, before) in zip(trace.changes[1:], trace.changes, strict=False) if rung < before]
        assert len(ups) <= 10
        assert sum(at > 300 for at in ups) <= 3
        for earlier, later in pairwise(ups[2:]):
            assert later - earlier > 8


def test_a_link_that_recovers_is_used_again() -> None:
    trace = simulate([(0, "rate=4,delay=50"), (30, "rate=60,delay=50")], 120)
    assert trace.rung_at(29.9) >= 2
    assert trace.rung_at(119.9) == 0


def test_an_outage_changes_nothing_for_long() -> None:
    trace = simulate([(0, "delay=50"), (10, "loss=0.95,delay=50"), (12, "delay=50")], 40)
    assert trace.rung_at(39.9) == 0


def test_the_same_seed_gives_the_same_decisions() -> None:
    spec = "rate=7,delay=50,jitter=30,loss=0.1,burst=3,reorder=0.05,duplicate=0.02"
    first, again, other = (simulate([(0, spec)], 60, seed=seed) for seed in (3, 3, 4))
    assert first.changes == again.changes
    assert first.delays == again.delays
    assert first.delays != other.delays


def test_on_a_narrow_link_the_motion_field_gives_way_first() -> None:
    plain = [rung for rung in LADDER if rung.frame_rate == 25]
    ladder = with_field(plain)
    names = [rung.name for rung in ladder]
    assert names == [rung.name for rung in plain for _ in FIELDS[rung.name]]
    costs = [rung.wire_kbps for rung in ladder]
    assert costs == sorted(costs, reverse=True)
    for before, rung in pairwise(ladder):
        assert rung.field_kbps < before.field_kbps or rung.name != before.name
    controller = RateController(ladder)
    state = LinkState(10.0, 0.0, 0.3, 13.8, 14.5, 0.1)
    rung = ladder[controller.update(state)]
    assert (rung.name, rung.field_kbps) == ("normal", FIELDS["normal"][1])
