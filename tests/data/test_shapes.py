"""Procedural shapes: labels true by construction, meshes sound, everyone gets the same."""

import numpy as np
import pytest

from bibench.data.meshes import Mesh
from bibench.data.shapes import HIDDEN, KINDS, PARTS, ball, box, cloud, cylinder, revolved, tilted, tube


def area(mesh: Mesh) -> float:
    return float(np.linalg.norm(mesh.area_vectors(), axis=1).sum())


def volume(mesh: Mesh) -> float:
    """Signed: positive when the triangles of a closed mesh face outwards."""
    a, b, c = np.moveaxis(mesh.corners(), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def test_simple_meshes_have_their_area_and_volume_and_face_outwards() -> None:
    assert area(box((1, 2, 3), (5, 5, 5))) == pytest.approx(22)
    assert volume(box((1, 2, 3))) == pytest.approx(6)
    for axis in range(3):
        mesh = cylinder(0.5, 2, (1, 2, 3), axis=axis)
        assert volume(mesh) == pytest.approx(np.pi / 2, rel=0.03)  # 16 sides
        assert area(mesh) == pytest.approx(2.5 * np.pi, rel=0.02)
        np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0)[axis], 2)
    assert volume(cylinder(1, 3, top=0)) == pytest.approx(np.pi, rel=0.03)
    assert volume(ball((1, 2, 3))) == pytest.approx(8 * np.pi, rel=0.1)
    assert area(revolved([(1, 0), (1, 1)])) == pytest.approx(2 * np.pi, rel=0.01)  # open: no lids
    line = np.stack([np.linspace(0, 4, 5), np.zeros(5), np.zeros(5)], 1)
    assert area(tube(line, 0.5)) == pytest.approx(16)
    turned = tilted(box((1, 2, 3)), np.pi / 2, 2)
    np.testing.assert_allclose(np.ptp(turned.vertices, axis=0), [2, 1, 3])


def test_ten_kinds_thirty_parts() -> None:
    assert len(KINDS) == 10
    assert [part for parts in PARTS.values() for part in parts] == list(range(30))
    assert all(2 <= len(parts) <= 4 for parts in PARTS.values())
    assert all(len(PARTS[kind]) == len(names) == len(set(names)) for kind, (_, names) in KINDS.items())


@pytest.mark.parametrize("kind", list(KINDS))
def test_clouds_are_sound(kind: str) -> None:
    seen = set()
    for seed in range(40):
        made = cloud(kind, 100, np.random.default_rng(seed))
        assert made.points.shape == (100, 6)
        assert made.points.dtype == np.float32
        assert np.isfinite(made.points).all()
        np.testing.assert_allclose(np.linalg.norm(made.points[:, 3:], axis=1), 1, rtol=1e-5)
        assert made.label == list(KINDS).index(kind)
        assert made.parts is not None
        assert set(made.parts.tolist()) <= set(PARTS[kind])
        seen |= set(made.parts.tolist())
    assert seen == set(PARTS[kind])  # every part does occur


def test_the_seed_decides() -> None:
    first, again, other = (cloud("chair", 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


def test_points_lie_on_the_part_they_are_labelled_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise, stretch and turn, a table's top is above its legs and a bottle's cap above its neck."""
    for name, value in (("NOISE", 0.0), ("STRETCH", (1.0, 1.0))):
        monkeypatch.setattr(f"bibench.data.shapes.{name}", value)
    for kind, low, high in (("table", "leg", "top"), ("bottle", "neck", "cap"), ("lamp", "base", "shade")):
        names = KINDS[kind][1]
        for seed in range(10):
            made = cloud(kind, 400, np.random.default_rng(seed))
            assert made.parts is not None
            height = {n: made.points[made.parts == PARTS[kind][names.index(n)], 2] for n in (low, high)}
            assert min(height[high], default=9) >= max(height[low], default=-9) - 0.1, (kind, seed)


def test_part_of_the_surface_is_hidden() -> None:
    """Beyond a plane there is nothing: some direction shows a cut, by at most the declared share."""
    assert 0 < HIDDEN < 1
    spans = [np.ptp(cloud("bottle", 300, np.random.default_rng(seed)).points[:, :3], axis=0)[2] for seed in range(60)]
    assert min(spans) < 0.7 * max(spans)
