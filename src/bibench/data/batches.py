"""Batches in a reproducible order: what the training loop reads.

Everything random is a function of (seed, epoch, step or example), never of a generator's history. A
run that continues in the middle of an epoch therefore sees what an uninterrupted one would have seen,
and every operator trained with the same seed sees the same batches, which `Batches.digest` proves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from bibench.errors import BiBenchError, DataError


class Batch(NamedTuple):
    """What the model is called with (`inputs`, positional) and what it should have answered.

    A named tuple, because torch's `DataLoader` pins the memory of those, and of no other class.
    """

    inputs: tuple[Any, ...]
    targets: Any

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.targets)


class Batches(Protocol):
    """A source of batches over one split."""

    examples: int

    def __len__(self) -> int:
        """Batches in one epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from step `start` on."""

    def digest(self, epoch: int) -> bytes:
        """A fingerprint of what `epoch` serves and in which order."""


def mix(*numbers: int) -> int:
    """A 63-bit seed from several integers; different tuples give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator seeded by `mix`."""
    return torch.Generator().manual_seed(mix(*numbers))


@dataclass
class Order:
    """The order of examples in each epoch: shuffled by (seed, epoch), or as stored without a seed."""

    examples: int
    batch_size: int
    seed: int | None

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise DataError("a split has no examples, expected at least one; is the data complete?")

    def __len__(self) -> int:
        if self.seed is None:
            return -(-self.examples // self.batch_size)
        # A short last batch would weigh its examples more; it is dropped unless it is the only one.
        return max(1, self.examples // self.batch_size)

    def indices(self, epoch: int) -> Tensor:
        """(len · batch_size,) or fewer indices, in the order of `epoch`."""
        if self.seed is None:
            return torch.arange(self.examples)
        shuffled = torch.randperm(self.examples, generator=generator(self.seed, epoch))
        return shuffled[: len(self) * self.batch_size]

    def digest(self, epoch: int) -> bytes:
        """SHA-256 over the batch size and the indices of `epoch`."""
        return hashlib.sha256(b"%d " % self.batch_size + self.indices(epoch).numpy().tobytes()).digest()


Transform = Callable[[Tensor, torch.Generator], Tensor]


class TensorBatches:
    """Batches of a data set that fits in memory, augmented a batch at a time.

    Args:
        data: all examples, first axis first (for images: (N, H, W, C) uint8).
        transform: function of (raw batch, generator) to what the model is called with.
        seed: shuffle by it; None serves the stored order, with a short last batch.
    """

    def __init__(
        self, data: Tensor, targets: Tensor, *, batch_size: int, transform: Transform, seed: int | None
    ) -> None:
        self.examples = len(data)
        self._data, self._targets, self._transform = data, targets, transform
        self._order = Order(len(data), batch_size, seed)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        indices, size = self._order.indices(epoch), self._order.batch_size
        for step in range(start, len(self)):
            chosen = indices[step * size : (step + 1) * size]
            random = generator(self._order.seed or 0, epoch, step)
            yield Batch((self._transform(self._data[chosen], random),), self._targets[chosen])

    def digest(self, epoch: int) -> bytes:
        # The first batch is hashed as the model sees it, so the augmentation is part of the proof.
        return _digest(self._order.digest(epoch), next(self.epoch(epoch)))


class SampleBatches:
    """Batches of a data set whose examples are read and transformed one at a time, by worker processes.

    Args:
        read: function of an index to (input, target); its random choices must use torch's generator.
        collate: function of a list of such pairs to a `Batch` (default: stack).
    """

    def __init__(
        self,
        read: Callable[[int], tuple[Any, Any]],
        examples: int,
        *,
        batch_size: int,
        seed: int | None,
        workers: int = 0,
        collate: Callable[[Sequence[tuple[Any, Any]]], Batch] | None = None,
    ) -> None:
        self.examples = examples
        self._read, self._workers = read, workers
        self._collate = collate or stack
        self._order = Order(examples, batch_size, seed)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        chunks = self._order.indices(epoch).split(self._order.batch_size)
        loader = torch.utils.data.DataLoader(
            self._reader(epoch),
            sampler=[chunk.tolist() for chunk in chunks[start:]],
            batch_size=None,  # the reader makes whole batches
            collate_fn=_as_read,
            num_workers=self._workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # without one, it draws from the training's random numbers
        )
        for batch in loader:
            yield _raised(batch)

    def digest(self, epoch: int) -> bytes:
        # One example is hashed as the model sees it; a whole batch could take seconds to read.
        first = self._order.indices(epoch)[:1].tolist()
        return _digest(self._order.digest(epoch), _raised(self._reader(epoch)[first]))

    def _reader(self, epoch: int) -> _Reader:
        return _Reader(self._read, self._collate, (self._order.seed or 0, epoch))


class _Reader(torch.utils.data.Dataset[Any]):
    """Reads batches; seeds torch by (seed, epoch, index) around each example, so that workers do not matter.

    An error the user can fix is returned: one raised in a worker would arrive with a traceback for message.
    """

    def __init__(
        self,
        read: Callable[[int], tuple[Any, Any]],
        collate: Callable[[Sequence[tuple[Any, Any]]], Batch],
        key: tuple[int, int],
    ) -> None:
        self._read, self._collate, self._key = read, collate, key

    def __getitem__(self, indices: list[int]) -> Batch | BiBenchError:
        try:
            return self._collate([self._example(index) for index in indices])
        except BiBenchError as error:
            return error

    def _example(self, index: int) -> tuple[Any, Any]:
        with torch.random.fork_rng(devices=[]):
            # The CPU's generator alone: torch.manual_seed would also reset the GPU's, which is not restored.
            torch.default_generator.manual_seed(mix(*self._key, index))
            return self._read(index)


def _raised(batch: Batch | BiBenchError) -> Batch:
    if isinstance(batch, BiBenchError):
        raise batch
    return batch


def _as_read(batch: Any) -> Any:
    return batch


def _digest(order: bytes, batch: Batch) -> bytes:
    digest = hashlib.sha256(order)

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(value.numpy().tobytes())
        elif isinstance(value, Mapping):
            add(list(value.items()))
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(batch)
    return digest.digest()


def stack(pairs: Sequence[tuple[Tensor, int]]) -> Batch:
    """Stack inputs; targets become a tensor of int64."""
    inputs = torch.stack([x for x, _ in pairs])
    return Batch((inputs,), torch.tensor([y for _, y in pairs]))
