"""Batches in a reproducible order: what the training loop reads.

Everything random is a function of (seed, epoch, step or example), never of a generator's history. A
run that continues in the middle of an epoch therefore sees what an uninterrupted one would have seen,
and every operator trained with the same seed sees the same batches, which `Batches.digest` proves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass
class Batch:
    """What the model is called with (`inputs`, positional) and what it should have answered."""

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
        """SHA-256 over the indices of `epoch`."""
        return hashlib.sha256(self.indices(epoch).numpy().tobytes()).digest()


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
        first = next(self.epoch(epoch)).inputs[0]
        return hashlib.sha256(self._order.digest(epoch) + first.numpy().tobytes()).digest()


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
        size = self._order.batch_size
        chunks = list(self._order.indices(epoch).split(size))[start:]
        loader = torch.utils.data.DataLoader(
            _Seeded(self._read, (self._order.seed or 0, epoch)),
            batch_sampler=[chunk.tolist() for chunk in chunks],
            collate_fn=self._collate,
            num_workers=self._workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
        )
        yield from loader

    def digest(self, epoch: int) -> bytes:
        return self._order.digest(epoch)


class _Seeded(torch.utils.data.Dataset[Any]):
    """Seeds torch by (seed, epoch, index) around each read, so that workers and order do not matter."""

    def __init__(self, read: Callable[[int], tuple[Any, Any]], key: tuple[int, int]) -> None:
        self._read, self._key = read, key

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(*self._key, index))
            return self._read(index)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def stack(pairs: Sequence[tuple[Tensor, int]]) -> Batch:
    """Stack inputs; targets become a tensor of int64."""
    inputs = torch.stack([x for x, _ in pairs])
    return Batch((inputs,), torch.tensor([y for _, y in pairs]))
