"""Packed clouds: sampling, batches, transforms, and the copy on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.data.clouds import (
    Cloud,
    CloudBatches,
    Clouds,
    RotateJitter,
    every_tenth,
    in_unit_sphere,
    load_clouds,
    normalized_and_raw,
    normalized_with_normals,
    packed,
    rotations,
    save_clouds,
)
from bibench.foundation.errors import DataError

from ..flips import flips


def cloud(size: int, label: int = 0, parts: bool = True, channels: int = 6) -> Cloud:
    """Points whose first coordinate is their number."""
    points = np.random.default_rng(size).normal(size=(size, channels)).astype(np.float32)
    points[:, 0] = np.arange(size)
    return Cloud(points, label, np.arange(size) % 3 if parts else None)


def small() -> Clouds:
    return packed([cloud(5, 0), cloud(3, 1), cloud(8, 2)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_a_seed_the_first_points_in_order() -> None:
    clouds = small()
    rows, valid = clouds.rows(torch.tensor([2, 1]), 4, None)
    assert clouds.points[rows][..., 0].tolist() == [[0, 1, 2, 3], [0, 1, 2, 0]]
    assert valid.tolist() == [[True] * 4, [True, True, True, False]]


@pytest.mark.parametrize("count", [2, 4, 8, 11])
def test_random_points_are_distinct_and_from_the_right_cloud(count: int) -> None:
    clouds = small()
    rows, valid = clouds.rows(torch.tensor([0, 1, 2]), count, generator())
    for index, size in enumerate((5, 3, 8)):
        own = clouds.points[rows[index]][:, 0][valid[index]].tolist()
        assert len(own) == len(set(own)) == min(count, size)
        assert all(0 <= value < size for value in own)
        low, high = clouds.offsets[index], clouds.offsets[index + 1]
        assert ((rows[index] >= low) & (rows[index] < high)).all()
    assert not torch.equal(rows, clouds.rows(torch.tensor([0, 1, 2]), count, generator(1))[0])


def test_every_point_is_equally_likely() -> None:
    clouds = packed([cloud(6)])
    drawn = torch.cat([clouds.rows(torch.tensor([0]), 2, generator(seed))[0] for seed in range(600)])
    counts = torch.bincount(drawn.flatten(), minlength=6)
    assert counts.min() > 140
    assert counts.max() < 260


def test_joined_clouds_follow_one_another() -> None:
    both = small().joined(packed([cloud(4, 7)]))
    assert both.labels.tolist() == [0, 1, 2, 7]
    assert both.offsets.tolist() == [0, 5, 8, 16, 20]
    rows, _ = both.rows(torch.tensor([3]), 4, None)
    assert both.points[rows][0, :, 0].tolist() == [0, 1, 2, 3]
    assert both.parts is not None
    assert both.parts[rows].tolist() == [[0, 1, 2, 0]]


def batches(seed: int | None, *, parts: bool = True, count: int = 4) -> CloudBatches:
    return CloudBatches(small(), count=count, batch_size=2, seed=seed, transform=normalized_with_normals, parts=parts)


def test_fillers_are_not_labelled() -> None:
    first = next(batches(None).epoch(0))
    assert first.inputs[0].shape == (2, 6, 4)
    assert first.targets.tolist() == [[0, 1, 2, 0], [0, 1, 2, -1]]
    assert next(batches(None, parts=False).epoch(0)).targets.tolist() == [0, 1]


def test_evaluation_is_never_randomised_and_training_always() -> None:
    fixed = [next(batches(None).epoch(epoch)).inputs[0] for epoch in (0, 1)]
    assert torch.equal(*fixed)
    assert batches(None).digest(0) == batches(None).digest(1)
    digests = {batches(seed).digest(epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len(digests) == 4
    assert batches(3).digest(2) == batches(3).digest(2)


def test_an_epoch_continues_from_any_step() -> None:
    whole = packed([cloud(6, label) for label in range(8)])
    source = CloudBatches(whole, count=3, batch_size=2, seed=1, transform=RotateJitter(), parts=True)
    everything = list(source.epoch(1))
    assert len(source) == len(everything) == 4
    for step in range(4):
        later = next(source.epoch(1, step))
        assert torch.equal(later.inputs[0], everything[step].inputs[0])
        assert torch.equal(later.targets, everything[step].targets)


def test_the_digest_sees_points_and_labels() -> None:
    clouds = small()
    reference = batches(1).digest(0)
    for changed in (
        Clouds(clouds.points + 1e-3 * torch.randn_like(clouds.points), clouds.offsets, clouds.labels, clouds.parts),
        Clouds(clouds.points, clouds.offsets, clouds.labels, (clouds.parts + 1) % 3),
    ):
        other = CloudBatches(changed, count=4, batch_size=2, seed=1, transform=normalized_with_normals, parts=True)
        assert other.digest(0) != reference
        assert changed.checksum() != clouds.checksum()


# -- transforms --------------------------------------------------------------------------------------------


def test_unit_sphere_and_raw_coordinates() -> None:
    x = torch.randn(3, 50, 6) * 7 + 20
    both = normalized_and_raw(x)
    assert both.shape == (3, 6, 50)
    torch.testing.assert_close(both[:, :3].mean(2), torch.zeros(3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(both[:, :3].norm(dim=1).amax(1), torch.ones(3))
    assert torch.equal(both[:, 3:], x[..., :3].transpose(1, 2))
    with_normals = normalized_with_normals(x)
    assert torch.equal(with_normals[:, :3], both[:, :3])
    assert torch.equal(with_normals[:, 3:], x[..., 3:].transpose(1, 2))


def test_a_single_point_stays_finite() -> None:
    assert torch.equal(in_unit_sphere(torch.full((1, 4, 3), 5.0)), torch.zeros(1, 4, 3))


def test_rotations_turn_about_each_axis() -> None:
    quarter = torch.pi / 2
    x, y, z = torch.eye(3)
    about = rotations(torch.diag(torch.tensor([quarter] * 3)))
    torch.testing.assert_close(about[0] @ y, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(about[1] @ z, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(about[2] @ x, y, atol=1e-6, rtol=0)
    both = rotations(torch.tensor([[quarter, 0, quarter]]))[0]  # about x first, then about z
    torch.testing.assert_close(both @ x, y, atol=1e-6, rtol=0)
    torch.testing.assert_close(both @ y, z, atol=1e-6, rtol=0)


def test_augmentation_turns_normals_with_the_coordinates() -> None:
    points = torch.randn(4, 30, 3)
    x = torch.cat([points, points / points.norm(dim=2, keepdim=True)], 2)
    plain = normalized_with_normals(x)
    turned = RotateJitter(degrees=15, jitter=0)(x, generator())
    assert not torch.equal(turned, plain)
    torch.testing.assert_close(turned[:, :3].norm(dim=1), plain[:, :3].norm(dim=1))
    dots = [(view[:, :3] * view[:, 3:]).sum(1) for view in (plain, turned)]
    torch.testing.assert_close(*dots)  # a turn keeps angles between point and normal
    cosine = (turned[:, 3:] * plain[:, 3:]).sum(1)
    assert cosine.min() > np.cos(np.radians(15 * 3**0.5)) - 1e-3
    jittered = RotateJitter(degrees=0, jitter=0.01)(x, generator())
    assert 0.005 < (jittered - plain)[:, :3].abs().max() <= 0.01 + 1e-6
    torch.testing.assert_close(jittered[:, 3:], plain[:, 3:])
    assert torch.equal(RotateJitter()(x, None), plain)


# -- on disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [True, False])
def test_clouds_come_back_from_disk(tmp_path: Path, parts: bool) -> None:
    made = [cloud(5, 2, parts), cloud(3, 0, parts)]
    save_clouds(tmp_path / "train", [lambda c=c: c for c in made])
    stored, direct = load_clouds(tmp_path / "train"), packed(made)
    assert stored.checksum() == direct.checksum()
    assert stored.labels.tolist() == [2, 0]
    assert (stored.parts is None) == (not parts)


def test_all_damaged_clouds_are_told_at_once(tmp_path: Path) -> None:
    def damaged(name: str) -> Cloud:
        raise DataError(f"{name} is damaged")

    readers = [lambda: cloud(2), lambda: damaged("a.off"), lambda: cloud(3), lambda: damaged("b.off")]
    with pytest.raises(DataError, match=r"^a\.off is damaged \(and 1 more damaged: b\.off is damaged\)$"):
        save_clouds(tmp_path / "train", readers)


@pytest.mark.parametrize("name", ["index.npz", "points.f32"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_copy_is_told_with_the_fix(tmp_path: Path, name: str, damage: str) -> None:
    save_clouds(tmp_path / "train", [lambda: cloud(5)])
    file = tmp_path / "train" / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:20])
    else:
        file.unlink()
    with pytest.raises(DataError, match=f"delete {tmp_path} to have it made again"):
        load_clouds(tmp_path / "train")


@pytest.mark.parametrize("name", ["index.npz", "points.f32", ".SHA256SUMS"])
def test_a_changed_bit_is_told_with_the_fix(tmp_path: Path, name: str) -> None:
    save_clouds(tmp_path / "train", [lambda: cloud(50)])
    whole = load_clouds(tmp_path / "train").checksum()
    for at in flips(tmp_path / "train" / name):
        with pytest.raises(DataError, match=f"(damaged|missing).*; delete {tmp_path} to have it made again"):
            load_clouds(tmp_path / "train")
            pytest.fail(f"byte {at}")
    assert load_clouds(tmp_path / "train").checksum() == whole
    (tmp_path / "train" / ".SHA256SUMS").unlink()  # as older versions left it
    assert load_clouds(tmp_path / "train").checksum() == whole


def test_validation_is_every_tenth_of_each_class() -> None:
    labels = [0] * 25 + [1] * 9 + [0] * 5
    kept_out = every_tenth(labels, kept_out=True)
    assert kept_out == [9, 19, 38]
    assert sorted(kept_out + every_tenth(labels, kept_out=False)) == list(range(39))


def test_a_split_without_a_cloud_comes_back_empty(tmp_path: Path) -> None:
    save_clouds(tmp_path / "validation", [])
    assert len(load_clouds(tmp_path / "validation")) == 0
