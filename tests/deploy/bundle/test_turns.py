"""Turns on a fake clock: order, stopping, and intervals that hold what they promise."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from math import comb
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.deploy.bundle import turns
from bibench.deploy.bundle.turns import ENOUGH_ROUNDS, ENOUGH_SECONDS, FEWEST_ROUNDS, drift, interval, take_turns, width


class World:
    """A clock that moves when contenders work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def contender(self, name: str, times: Callable[[int], float]) -> Callable[[], float]:
        """Takes times(n) milliseconds in its n-th call."""

        def work() -> float:
            taken = times(self.calls.count(name))
            self.calls.append(name)
            self.now += taken / 1e3
            return taken

        return work


@pytest.fixture
def world() -> World:
    return World()


def test_steady_contenders_are_known_after_enough_rounds_and_seconds(world: World) -> None:
    found = take_turns({"a": world.contender("a", lambda n: 100.0)}, 0.02, 60, clock=lambda: world.now)
    assert found.narrow
    assert found.rounds == ENOUGH_ROUNDS == len(found.samples["a"])
    quick = take_turns({"b": world.contender("b", lambda n: 1.0)}, 0.02, 60, clock=lambda: world.now)
    assert quick.seconds >= ENOUGH_SECONDS  # 15 rounds of a millisecond are one moment
    assert quick.rounds >= 1000


def test_a_noisy_contender_keeps_all_going_until_its_median_is_known(world: World) -> None:
    noise = np.random.default_rng(0).uniform(80, 120, 10_000)
    contenders = {
        "steady": world.contender("steady", lambda n: 100.0),
        "noisy": world.contender("noisy", lambda n: float(noise[n])),
    }
    found = take_turns(contenders, 0.02, 1e6, clock=lambda: world.now)
    assert found.narrow
    assert found.rounds > 2 * ENOUGH_ROUNDS
    assert len(found.samples["steady"]) == len(found.samples["noisy"]) == found.rounds
    assert width(found.samples["noisy"]) <= 0.02
    assert width(found.samples["noisy"][: found.rounds // 2]) > 0.02
    again = take_turns({"noisy": lambda: float(noise[0])}, 0.02, 1e6, clock=iter(np.arange(0, 1e6, 0.5)).__next__)
    assert again.rounds < found.rounds


def test_no_round_begins_after_the_time_is_over(world: World) -> None:
    noise = np.random.default_rng(0).uniform(50, 150, 10_000)
    found = take_turns({"a": world.contender("a", lambda n: float(noise[n]))}, 0.001, 3.0, clock=lambda: world.now)
    assert not found.narrow
    assert 3.0 <= found.seconds <= 3.15


def test_never_a_single_call(world: World) -> None:
    found = take_turns({"a": world.contender("a", lambda n: 9000.0)}, 0.02, 0.0, clock=lambda: world.now)
    assert found.rounds == FEWEST_ROUNDS
    assert interval(found.samples["a"]) is not None


def test_each_round_has_everyone_once_in_a_random_order(world: World) -> None:
    names = ["a", "b", "c"]
    take_turns({n: world.contender(n, lambda n: 100.0) for n in names}, 0.001, 30, clock=lambda: world.now)
    rounds = [tuple(world.calls[i : i + 3]) for i in range(0, len(world.calls), 3)]
    assert all(sorted(order) == names for order in rounds)
    assert len(set(rounds)) >= 4
    assert any(a != b for a, b in pairwise(rounds))
    firsts = Counter(order[0] for order in rounds)
    assert set(firsts) == set(names)


def test_who_fails_leaves_and_the_others_go_on(world: World) -> None:
    def broken() -> float:
        if world.calls.count("good") > 4:
            raise RuntimeError("no more\nmemory")
        return 1.0

    good = world.contender("good", lambda n: 100.0)
    found = take_turns({"good": good, "bad": broken}, 0.02, 60, clock=lambda: world.now)
    assert found.failures == {"bad": "no more"}
    assert len(found.samples["good"]) == ENOUGH_ROUNDS


def test_a_fatal_error_ends_it_for_all() -> None:
    def lost() -> float:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        take_turns({"a": lost}, 0.02, 60, fatal=(ConnectionError,))


def test_it_is_told_who_works(world: World) -> None:
    told: list[tuple[str, int]] = []
    contender = world.contender("a", lambda n: 1000.0)
    take_turns({"a": contender}, 0.02, 0, lambda name, number: told.append((name, number)), clock=lambda: world.now)
    assert told == [("a", n) for n in range(FEWEST_ROUNDS)]


@pytest.mark.parametrize("count", [1, 5, 6, 7, 20, 101, 1500])
def test_ranks_are_those_of_the_binomial_distribution(count: int) -> None:
    def below(k: int) -> float:
        return (
            sum(comb(count, i) for i in range(k)) * 2.0**-count
            if count < 1000
            else sum(comb(count, i) * 40 for i in range(k)) / 2**count / 40
        )

    rank = turns._rank(count)
    assert (rank == 0) == (count < FEWEST_ROUNDS)
    assert below(rank) <= 0.025
    assert below(rank + 1) > 0.025 or rank + 1 > count // 2


def test_the_interval_covers_the_median_as_often_as_promised() -> None:
    random = np.random.default_rng(0)
    hits = [
        low <= 1.0 <= high for low, high in (interval(list(random.lognormal(0, 1, 40))) or (9, 9) for _ in range(2000))
    ]
    assert 0.945 <= np.mean(hits) <= 0.99


@given(st.lists(st.floats(0.01, 1e6), min_size=6, max_size=60))
def test_the_interval_holds_the_median(samples: list[float]) -> None:
    bounds = interval(samples)
    assert bounds is not None
    assert min(samples) <= bounds[0] <= median(samples) <= bounds[1] <= max(samples)


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_quantiles_are_numpys(samples: list[float], share: float) -> None:
    assert turns.quantile(samples, share) == pytest.approx(np.quantile(samples, share), rel=1e-9)


def test_drift_is_a_change_that_noise_does_not_explain() -> None:
    random = np.random.default_rng(0)
    assert drift(list(random.uniform(90, 110, 300))) == 0
    warmer = np.linspace(100, 130, 300) * random.uniform(0.98, 1.02, 300)
    assert drift(list(warmer)) == pytest.approx(0.22, abs=0.04)
    assert drift([1.0, 2.0, 3.0]) == 0


def test_what_takes_no_time_or_was_too_short_is_not_known_to_any_width() -> None:
    assert width([0.0] * 20) == width([1.0] * 5) == width([]) == float("inf")
    assert width([1.0] * 20) == 0.0
