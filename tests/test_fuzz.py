"""Foreign bytes of every kind, kept and mutated: taken, or BitstreamError. The million is ``python -m tests.fuzz.run``."""

import random

import pytest

from codec.errors import BitstreamError
from tests.fuzz.mutation import mutated
from tests.fuzz.run import CORPUS, SHARES, fuzz, inputs_kept
from tests.fuzz.targets import TARGETS, Target

QUICK = {
    "parameters": 800, "motion": 800, "photos": 800, "updates": 800, "riding": 800, "control": 2000, "opus": 2000, "files": 60,
    "picture": 30, "stills": 60,
}  # fmt: skip


def test_every_target_is_run_in_full_and_in_short():
    assert set(TARGETS) == set(SHARES) == set(QUICK)
    assert sum(SHARES.values()) == 1_000_000


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_good_is_taken(name):
    """Of the seeds that stand first; some of the others are meant to be refused."""
    TARGETS[name].taker()(TARGETS[name].seeds()[0])


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutated_bytes_are_taken_or_refused(name):
    outcome = fuzz(TARGETS[name], QUICK[name] + len(inputs_kept(name)), seed=2)
    assert outcome.taken
    assert outcome.refused
    assert len(outcome.kinds) >= 3


def test_the_loop_finds_what_raises_anything_else():
    def taker():
        def take(data: bytes) -> None:
            if len(data) < 3:
                raise BitstreamError("short")
            {b"": 0}[data[7:]]

        return take

    with pytest.raises(KeyError) as caught:
        fuzz(Target("none", lambda: [b"seven b"], taker), 1000)
    assert "input" in caught.value.__notes__[0]


def test_mutations_change_bytes_and_are_the_same_each_time():
    corpus = [bytes(range(40)), b"abc"]
    first = [mutated(random.Random(k), corpus) for k in range(200)]
    assert first == [mutated(random.Random(k), corpus) for k in range(200)]
    assert sum(data not in corpus for data in first) > 180


def test_the_corpus_stays_small():
    assert 0 < sum(path.stat().st_size for path in CORPUS.rglob("*.bin")) <= 200_000
