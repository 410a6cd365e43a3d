"""Batches: the order and the augmentation are functions of (seed, epoch, step or example) alone."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from bibench.data.batches import Batch, Batches, SampleBatches, TensorBatches, mix
from bibench.errors import DataError

EXAMPLES, SIZE = 22, 4

# Every input is (index, random number), every target the index, so that order and augmentation show.


def jitter(raw: Tensor, random: torch.Generator) -> Tensor:
    return torch.stack([raw.float(), torch.rand(len(raw), generator=random)], 1)


def still(raw: Tensor, random: torch.Generator) -> Tensor:
    return torch.stack([raw.float(), torch.zeros(len(raw))], 1)


def read(index: int) -> tuple[Tensor, int]:
    return torch.tensor([float(index), float(torch.rand(()))]), index


def read_still(index: int) -> tuple[Tensor, int]:
    return torch.tensor([float(index), 0.0]), index


def in_memory(seed: int | None, examples: int = EXAMPLES, size: int = SIZE, transform: Any = jitter) -> TensorBatches:
    data = torch.arange(examples)
    return TensorBatches(data, data, batch_size=size, transform=transform, seed=seed)


def read_here(seed: int | None, examples: int = EXAMPLES, size: int = SIZE, read: Any = read) -> SampleBatches:
    return SampleBatches(read, examples, batch_size=size, seed=seed)


def read_by_workers(seed: int | None, examples: int = EXAMPLES, size: int = SIZE, read: Any = read) -> SampleBatches:
    return SampleBatches(read, examples, batch_size=size, seed=seed, workers=2)


SOURCES: dict[str, Callable[..., Batches]] = {
    "in memory": in_memory,
    "read here": read_here,
    "read by two workers": read_by_workers,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Callable[..., Batches]:
    return SOURCES[request.param]


def inputs(batches: Iterable[Batch]) -> list[list[list[float]]]:
    return [batch.inputs[0].tolist() for batch in batches]


def order(batches: Iterable[Batch]) -> list[int]:
    return [index for batch in batches for index in batch.targets.tolist()]


# -- order and augmentation ----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_batches(source: Callable[..., Batches]) -> None:
    first, second = source(3), source(3)
    assert inputs(first.epoch(1)) == inputs(second.epoch(1))
    assert inputs(first.epoch(1)) == inputs(first.epoch(1)), "serving an epoch twice must not change it"
    assert first.digest(1) == second.digest(1)


@pytest.mark.parametrize("other", [(4, 1), (3, 2)], ids=["seed", "epoch"])
def test_another_seed_or_epoch_gives_other_batches(source: Callable[..., Batches], other: tuple[int, int]) -> None:
    seed, epoch = other
    ours, theirs = list(source(3).epoch(1)), list(source(seed).epoch(epoch))
    assert order(ours) != order(theirs)
    jitters = [{x[1] for batch in inputs(batches) for x in batch} for batches in (ours, theirs)]
    assert not jitters[0] & jitters[1]
    assert source(3).digest(1) != source(seed).digest(epoch)


def test_every_example_is_augmented_on_its_own(source: Callable[..., Batches]) -> None:
    jitters = [x[1] for batch in inputs(source(3).epoch(0)) for x in batch]
    assert len(set(jitters)) == len(jitters) == 20


def test_the_order_is_not_the_stored_one(source: Callable[..., Batches]) -> None:
    assert order(source(3).epoch(0)) != sorted(order(source(3).epoch(0)))


@pytest.mark.parametrize("step", [0, 1, 3, 5])
def test_continuing_equals_an_uninterrupted_epoch(source: Callable[..., Batches], step: int) -> None:
    whole = inputs(source(3).epoch(2))
    assert len(whole) == 5
    assert inputs(source(3).epoch(2, start=step)) == whole[step:]


def test_workers_change_nothing() -> None:
    assert inputs(read_here(3).epoch(0)) == inputs(read_by_workers(3).epoch(0))
    assert read_here(3).digest(0) == read_by_workers(3).digest(0)


def test_an_example_is_augmented_the_same_in_any_batch_size() -> None:
    small, large = ({tuple(x) for b in inputs(read_here(3, size=size).epoch(0)) for x in b} for size in (2, 11))
    assert len(small) == EXAMPLES
    assert small == large


def test_no_example_comes_twice_and_none_is_always_left_out(source: Callable[..., Batches]) -> None:
    batches = source(3)
    seen: set[int] = set()
    for epoch in range(5):
        served = order(batches.epoch(epoch))
        assert len(served) == len(set(served)) == 20
        seen |= set(served)
    assert seen == set(range(EXAMPLES))


def test_only_a_shuffled_epoch_drops_the_short_last_batch(source: Callable[..., Batches]) -> None:
    shuffled, stored = source(3), source(None)
    assert [batch.size for batch in shuffled.epoch(0)] == [4] * 5
    assert [batch.size for batch in stored.epoch(0)] == [4] * 5 + [2]
    assert (len(shuffled), len(stored)) == (5, 6)
    assert order(stored.epoch(0)) == order(stored.epoch(7)) == list(range(EXAMPLES))
    assert shuffled.examples == stored.examples == EXAMPLES


@pytest.mark.parametrize("seed", [None, 3])
def test_a_data_set_smaller_than_the_batch_is_one_batch(source: Callable[..., Batches], seed: int | None) -> None:
    batches = source(seed, examples=3)
    assert len(batches) == 1
    assert [batch.size for batch in batches.epoch(0)] == [3]
    assert sorted(order(batches.epoch(0))) == [0, 1, 2]


def test_a_batch_that_fits_exactly_is_kept(source: Callable[..., Batches]) -> None:
    for seed in (None, 3):
        assert [batch.size for batch in source(seed, examples=8).epoch(0)] == [4, 4]


# -- the digest ----------------------------------------------------------------------------------------


def test_the_digest_sees_the_augmentation() -> None:
    assert in_memory(3).digest(0) != in_memory(3, transform=still).digest(0)
    assert read_here(3).digest(0) != read_here(3, read=read_still).digest(0)


def test_the_digest_sees_batch_size_and_number_of_examples(source: Callable[..., Batches]) -> None:
    # 22 examples make 20 in batches of 4 as in batches of 5.
    digests = {source(3).digest(0), source(3, size=5).digest(0), source(3, examples=21).digest(0)}
    assert len(digests) == 3


def test_the_digest_sees_the_labels() -> None:
    data = torch.arange(EXAMPLES)
    wrong = TensorBatches(data, data.flip(0), batch_size=SIZE, transform=jitter, seed=3)
    assert wrong.digest(0) != in_memory(3).digest(0)


def as_dictionary(pairs: Any) -> Batch:
    x = torch.stack([x for x, _ in pairs])
    return Batch(({"x": x, "ids": ["a"] * len(pairs)},), [y for _, y in pairs])


def test_the_digest_sees_into_nested_inputs() -> None:
    def nested(read: Any, seed: int) -> SampleBatches:
        return SampleBatches(read, EXAMPLES, batch_size=SIZE, seed=seed, collate=as_dictionary)

    assert nested(read, 3).digest(0) == nested(read, 3).digest(0)
    assert nested(read, 3).digest(0) != nested(read_still, 3).digest(0)


# -- what reading must leave alone ---------------------------------------------------------------------


def test_the_random_numbers_of_the_training_are_untouched(source: Callable[..., Batches]) -> None:
    # Else a run that continues in the middle of an epoch, and so starts reading twice, would differ.
    before = torch.get_rng_state()
    batches = source(3)
    list(batches.epoch(0))
    batches.digest(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_random_numbers_of_the_gpu_are_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    def seeded(seed: int) -> None:
        raise AssertionError("reading data seeds the GPU's generator")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    assert len(list(read_here(3).epoch(0))) == 5


def damaged(index: int) -> tuple[Tensor, int]:
    raise DataError("cat.png is damaged")


def buggy(index: int) -> tuple[Tensor, int]:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("source", [read_here, read_by_workers])
def test_an_error_of_the_data_arrives_as_its_message_alone(source: Callable[..., Batches]) -> None:
    with pytest.raises(DataError) as caught:
        list(source(3, read=damaged).epoch(0))
    assert str(caught.value) == "cat.png is damaged"
    with pytest.raises(DataError, match=r"^cat.png is damaged$"):
        source(3, read=damaged).digest(0)


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(read_here(3, read=buggy).epoch(0))


# -- the batch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [read_here, read_by_workers])
def test_stacked_batches(source: Callable[..., Batches]) -> None:
    batch = next(source(3).epoch(0))
    assert isinstance(batch, Batch)
    assert isinstance(batch.inputs, tuple)
    assert batch.inputs[0].shape == (SIZE, 2)
    assert batch.targets.dtype == torch.int64
    assert batch.size == SIZE


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collate_function_of_ones_own(workers: int) -> None:
    batches = SampleBatches(read, EXAMPLES, batch_size=SIZE, seed=3, workers=workers, collate=as_dictionary)
    batch = next(batches.epoch(0))
    assert batch.inputs[0]["x"][:, 0].tolist() == batch.targets
    assert batch.inputs[0]["ids"] == ["a"] * SIZE


class Pinnable:
    def pin_memory(self) -> str:
        return "pinned"


def test_torch_pins_all_of_a_batch() -> None:
    batch = pin_memory(Batch((Pinnable(), {"y": Pinnable()}), Pinnable()))
    assert isinstance(batch, Batch)
    assert list(batch.inputs) == ["pinned", {"y": "pinned"}]
    assert batch.targets == "pinned"


def test_mix_gives_unrelated_seeds() -> None:
    seeds = [mix(), mix(0), mix(1), mix(0, 0), mix(0, 1), mix(1, 0), mix(12), mix(1, 2), mix(-1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(0, 1, 2) == 5458876493991123480, "changing the seeds of the data breaks every stored digest"


@pytest.mark.parametrize("seed", [None, 0])
def test_a_split_without_examples_is_told(seed: int | None) -> None:
    with pytest.raises(DataError, match="a split has no examples, expected at least one"):
        TensorBatches(torch.zeros(0, 2), torch.zeros(0), batch_size=4, transform=still, seed=seed)
