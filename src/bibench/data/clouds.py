"""Point clouds: packed in memory or on disk, sampled to a fixed number of points, in reproducible batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bibench.data.batches import Batch, Order, generator
from bibench.data.sums import compare, seal
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.foundation.files import unreadable

IGNORED = -1
"""Part label of a point that only fills up a small cloud: neither trained on nor judged."""


@dataclass(frozen=True)
class Clouds:
    """N clouds of any sizes, one after the other.

    Attributes:
        points: (T, C) float32, coordinates x, y, z first.
        offsets: (N + 1,) int64; cloud i has the rows offsets[i] to offsets[i + 1].
        labels: (N,) int64, the class of each cloud.
        parts: (T,) int64, the part each point belongs to, or None.
    """

    points: Tensor
    offsets: Tensor
    labels: Tensor
    parts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: Tensor, count: int, random: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """`count` rows of each `chosen` cloud (B, count), and which are no repetitions (B, count).

        The first ones without `random`, else distinct ones drawn by it. A cloud with fewer points
        repeats them in turn.
        """
        sizes = (self.offsets[chosen + 1] - self.offsets[chosen])[:, None]
        position = torch.arange(count)[None]
        within = position % sizes
        if random is not None:
            largest = int(sizes.max())
            scores = torch.rand(len(chosen), largest, generator=random)
            scores.masked_fill_(torch.arange(largest)[None] >= sizes, -1.0)
            within = scores.topk(min(count, largest)).indices.gather(1, within)
        return self.offsets[chosen][:, None] + within, position < sizes

    def joined(self, *others: Clouds) -> Clouds:
        """These clouds followed by `others`, in memory."""
        every = [self, *others]
        starts = np.cumsum([0, *(len(c.points) for c in every)])
        offsets = [c.offsets[:-1] + int(start) for c, start in zip(every, starts)]
        parts = [c.parts for c in every if c.parts is not None]
        return Clouds(
            points=torch.cat([c.points for c in every]),
            offsets=torch.cat([*offsets, torch.tensor([int(starts[-1])])]),
            labels=torch.cat([c.labels for c in every]),
            parts=torch.cat(parts) if parts else None,
        )

    def checksum(self) -> str:
        """SHA-256 over everything."""
        tensors = (t for t in (self.points, self.offsets, self.labels, self.parts) if t is not None)
        return sha256(*(t.contiguous().numpy().data.cast("B") for t in tensors))


Transform = Callable[[Tensor, torch.Generator | None], Tensor]


class CloudBatches:
    """Batches of clouds with `count` points each.

    Args:
        transform: function of (points (B, count, C), generator or None) to the model's input (B, C', count).
        seed: shuffles, and draws the points anew in every epoch; None serves the first points in order.
        parts: whether the targets are the points' parts (B, count) instead of the clouds' classes (B,).
    """

    def __init__(
        self, clouds: Clouds, *, count: int, batch_size: int, seed: int | None, transform: Transform, parts: bool
    ) -> None:
        self.examples = len(clouds)
        self._clouds, self._count, self._transform, self._parts = clouds, count, transform, parts
        self._order = Order(len(clouds), batch_size, seed)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        indices, size, seed = self._order.indices(epoch), self._order.batch_size, self._order.seed
        for step in range(start, len(self)):
            random = None if seed is None else generator(seed, epoch, step)
            yield self._batch(indices[step * size : (step + 1) * size], random)

    def digest(self, epoch: int) -> bytes:
        # The first batch is hashed as the model sees it, so sampling and augmentation are part of the proof.
        first = next(self.epoch(epoch))
        served = (x.numpy().tobytes() for x in (*first.inputs, first.targets))
        return hashlib.sha256(b"".join([self._order.digest(epoch), *served])).digest()

    def _batch(self, chosen: Tensor, random: torch.Generator | None) -> Batch:
        rows, valid = self._clouds.rows(chosen, self._count, random)
        points = self._transform(self._clouds.points[rows], random)
        if not self._parts:
            return Batch((points,), self._clouds.labels[chosen])
        assert self._clouds.parts is not None
        return Batch((points,), self._clouds.parts[rows].masked_fill(~valid, IGNORED))


# -- transforms --------------------------------------------------------------------------------------------


def in_unit_sphere(points: Tensor) -> Tensor:
    """Clouds (B, n, 3) moved to their mean and scaled so that the farthest point has distance 1."""
    moved = points - points.mean(1, keepdim=True)
    radius = moved.norm(dim=2).amax(1)
    return moved / radius.clamp_min(1e-12)[:, None, None]


def normalized_and_raw(points: Tensor, random: torch.Generator | None = None) -> Tensor:
    """(B, n, ≥3) → (B, 6, n): the coordinates in the unit sphere, then as they are."""
    xyz = points[..., :3]
    return torch.cat([in_unit_sphere(xyz), xyz], dim=2).transpose(1, 2).contiguous()


def normalized_with_normals(points: Tensor, random: torch.Generator | None = None) -> Tensor:
    """(B, n, 6) → (B, 6, n): the coordinates in the unit sphere, then the normals."""
    return torch.cat([in_unit_sphere(points[..., :3]), points[..., 3:6]], dim=2).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class RotateJitter:
    """BiPointNet's augmentation: turns about x, y and z by up to `degrees`, each coordinate moved by up to `jitter`.

    Normals turn with the coordinates. (B, n, 6) → (B, 6, n), normalised first.
    """

    degrees: float = 15.0
    jitter: float = 0.01

    def __call__(self, points: Tensor, random: torch.Generator | None) -> Tensor:
        x = normalized_with_normals(points)
        if random is None:
            return x
        angles = (2 * torch.rand(len(x), 3, generator=random) - 1) * torch.pi * self.degrees / 180
        turned = rotations(angles) @ x.view(len(x), 2, 3, -1).transpose(1, 2).reshape(len(x), 3, -1)
        x = turned.view(len(x), 3, 2, -1).transpose(1, 2).reshape(x.shape)
        x[:, :3] += (2 * torch.rand(len(x), 3, x.shape[2], generator=random) - 1) * self.jitter
        return x


def rotations(angles: Tensor) -> Tensor:
    """(B, 3) angles about x, y and z, in radians, to matrices R_z R_y R_x (B, 3, 3)."""
    cos, sin = angles.cos(), angles.sin()
    matrix = torch.eye(3).expand(len(angles), 3, 3)
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3).repeat(len(angles), 1, 1)
        turn[:, i, i] = turn[:, j, j] = cos[:, axis]
        turn[:, i, j], turn[:, j, i] = -sin[:, axis], sin[:, axis]
        matrix = turn @ matrix
    return matrix


# -- on disk -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloud:
    """One cloud as a reader gives it: points (n, C), class, part of each point (n,) or None."""

    points: NDArray[np.float32]
    label: int
    parts: NDArray[np.int64] | None = None


def packed(clouds: Sequence[Cloud]) -> Clouds:
    """Clouds in memory from single ones."""
    parts = [torch.from_numpy(c.parts) for c in clouds if c.parts is not None]
    return Clouds(
        points=torch.cat([torch.from_numpy(np.ascontiguousarray(c.points, np.float32)) for c in clouds]),
        offsets=torch.tensor([0, *(len(c.points) for c in clouds)]).cumsum(0),
        labels=torch.tensor([c.label for c in clouds]),
        parts=torch.cat(parts) if parts else None,
    )


def save_clouds(folder: Path, read: Sequence[Callable[[], Cloud]]) -> None:
    """Read clouds one after the other and store them in `folder`.

    Every damaged one is looked for before any is reported, since reading them all may take minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    offsets, labels, parts, problems = [0], [], [], []
    with (folder / "points.f32").open("wb") as stream:
        channels = 0
        for reader in read:
            try:
                cloud = reader()
            except DataError as error:
                problems.append(str(error))
                continue
            stream.write(np.ascontiguousarray(cloud.points, np.float32).tobytes())
            channels = cloud.points.shape[1]
            offsets.append(offsets[-1] + len(cloud.points))
            labels.append(cloud.label)
            if cloud.parts is not None:
                parts.append(cloud.parts.astype(np.int64))
    if problems:
        more = f" (and {len(problems) - 1} more damaged: {'; '.join(problems[1:4])})" if problems[1:] else ""
        raise DataError(problems[0] + more)
    arrays = {"offsets": np.array(offsets), "labels": np.array(labels, np.int64), "channels": np.array(channels)}
    if parts:
        arrays["parts"] = np.concatenate(parts)
    np.savez(folder / "index.npz", **arrays)  # type: ignore[arg-type, unused-ignore]
    seal(folder)


def load_clouds(folder: Path) -> Clouds:
    """Clouds that `save_clouds` stored, compared with their checksums; the points stay on disk until they are used."""
    compare(folder, remove=folder.parent)
    try:
        with np.load(folder / "index.npz") as index:
            stored = {name: index[name] for name in index.files}
        shape = (int(stored["offsets"][-1]), int(stored["channels"]))
        file = folder / "points.f32"
        # Of a split without a cloud the file is empty, which cannot be mapped.
        points = np.memmap(file, np.float32, mode="c", shape=shape) if shape[0] else np.fromfile(file, np.float32)
        points = points.reshape(shape)
        tensors = {name: torch.from_numpy(stored[name]) for name in ("offsets", "labels", "parts") if name in stored}
        return Clouds(points=torch.from_numpy(points), **tensors)
    except Exception as error:  # whatever numpy raises for a damaged file
        problem = f"{folder} is damaged ({error}); delete {folder.parent} to have it made again"
        raise DataError(unreadable(Path(getattr(error, "filename", None) or folder), error) or problem) from error


VALIDATION_EVERY = 10


def every_tenth(labels: Sequence[int], *, kept_out: bool) -> list[int]:
    """Indices of every tenth example of each class (`kept_out`), or of all the others: a validation cut.

    A class needs `VALIDATION_EVERY` examples to have one kept out.
    """
    seen: dict[int, int] = {}
    chosen = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if (seen[label] % VALIDATION_EVERY == 0) == kept_out:
            chosen.append(index)
    return chosen
