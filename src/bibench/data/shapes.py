"""Procedural part-labelled shapes: ten kinds of objects of 30 kinds of parts, from seeds alone.

Each object is composed of simple meshes whose proportions are random; points are drawn uniformly from
its surface, and then stretched, turned, partly hidden and disturbed. Parts are known by construction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bibench.data.clouds import Cloud
from bibench.data.meshes import Floats, Mesh, sample_surface

Part = tuple[str, Mesh]
Random = np.random.Generator

SIDES = 16
"""Sides of what should be round."""

# -- simple meshes -----------------------------------------------------------------------------------------


def box(size: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """An axis-parallel box with edges `size` around the point `at`."""
    unit = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return Mesh(unit * np.array(size) + np.array(at), _split(quads))


def revolved(profile: list[tuple[float, float]], at: tuple[float, float, float] = (0, 0, 0), axis: int = 2) -> Mesh:
    """The profile (radius, height), ... turned about a coordinate axis through `at`; radius 0 closes an end."""
    angles = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    radii, heights = np.array(profile, dtype=np.float64).T
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    vertices = np.concatenate(
        [np.concatenate([r * ring, np.full((SIDES, 1), h)], 1) for r, h in zip(radii, heights, strict=True)]
    )
    next_side = (np.arange(SIDES) + 1) % SIDES
    quads = [
        (level * SIDES + i, level * SIDES + j, (level + 1) * SIDES + j, (level + 1) * SIDES + i)
        for level in range(len(profile) - 1)
        for i, j in enumerate(next_side.tolist())
    ]
    return Mesh(np.roll(vertices, axis + 1, axis=1) + np.array(at), _split(quads))


def cylinder(
    radius: float, length: float, at: tuple[float, float, float] = (0, 0, 0), axis: int = 2, top: float | None = None
) -> Mesh:
    """A closed cylinder centred at `at`; with `top`, a frustum whose far end has that radius."""
    far = radius if top is None else top
    return revolved([(0, -length / 2), (radius, -length / 2), (far, length / 2), (0, length / 2)], at, axis)


def ball(radii: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """An ellipsoid."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 9)
    mesh = revolved([(float(np.cos(a)), float(np.sin(a))) for a in angles])
    return Mesh(mesh.vertices * np.array(radii) + np.array(at), mesh.faces)


def tube(path: Floats, radius: float) -> Mesh:
    """A square tube along a path (n, 3) in the plane y = 0."""
    ahead = np.gradient(path, axis=0)
    side = np.stack([-ahead[:, 2], 0 * ahead[:, 1], ahead[:, 0]], 1)
    side *= radius / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    across = np.array([0, radius, 0])
    vertices = np.concatenate([path + side + across, path - side + across, path - side - across, path + side - across])
    n = len(path)
    quads = [
        (k * n + i, (k + 1) % 4 * n + i, (k + 1) % 4 * n + i + 1, k * n + i + 1) for k in range(4) for i in range(n - 1)
    ]
    return Mesh(vertices, _split(quads))


def tilted(mesh: Mesh, angle: float, axis: int) -> Mesh:
    """The mesh turned by `angle` (radians) about a coordinate axis through the origin."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return Mesh(mesh.vertices @ turn.T, mesh.faces)


def _split(quads: list[tuple[int, int, int, int]]) -> NDArray[np.int64]:
    return np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


# -- the objects: z is up ----------------------------------------------------------------------------------


def airplane(r: Random) -> list[Part]:
    span, length, sweep = r.uniform(0.7, 1.1), r.uniform(0.8, 1.1), r.uniform(0, 0.3)
    thick = r.uniform(0.08, 0.13)
    parts = [("body", ball((length, thick, thick)))]
    for side in (-1, 1):
        wing = box((r.uniform(0.25, 0.35), span, 0.03), (0, side * span / 2, 0))
        parts.append(("wing", tilted(wing, -side * sweep, 2)))
        parts.append(("tail", box((0.16, 0.3, 0.02), (-0.85 * length, side * 0.15, 0.05))))
    parts.append(("tail", box((0.2, 0.02, 0.3), (-0.85 * length, 0, 0.17))))
    if r.random() < 0.7:
        for side in (-1, 1):
            parts.append(("engine", cylinder(0.06, 0.25, (0.08, side * span * 0.4, -0.08), axis=0)))
    return parts


def bottle(r: Random) -> list[Part]:
    wide, high, neck = r.uniform(0.22, 0.35), r.uniform(0.8, 1.2), r.uniform(0.06, 0.12)
    shoulder, rise = high * r.uniform(0.6, 0.75), r.uniform(0.05, 0.25)
    return [
        ("body", revolved([(0, 0), (wide, 0), (wide, shoulder), (neck, shoulder + rise)])),
        ("neck", revolved([(neck, shoulder + rise), (neck, high + rise)])),
        ("cap", cylinder(neck * 1.2, 0.12, (0, 0, high + rise + 0.06))),
    ]


def car(r: Random) -> list[Part]:
    length, width, high = r.uniform(0.8, 1.1), r.uniform(0.4, 0.5), r.uniform(0.15, 0.25)
    wheel = r.uniform(0.12, 0.17)
    cabin = box((length * r.uniform(0.8, 1.2), width * 1.7, high * 1.5), (r.uniform(-0.2, 0.1), 0, high * 1.75))
    parts = [("body", box((2 * length, 2 * width, 2 * high))), ("cabin", cabin)]
    parts += [
        ("wheel", cylinder(wheel, 0.1, (x * length * 0.6, y * width, -high), axis=1)) for x in (-1, 1) for y in (-1, 1)
    ]
    return parts


def chair(r: Random) -> list[Part]:
    wide, deep, leg, back = r.uniform(0.35, 0.5), r.uniform(0.35, 0.5), r.uniform(0.3, 0.6), r.uniform(0.4, 0.8)
    parts = [("seat", box((2 * wide, 2 * deep, 0.08)))]
    plate = tilted(box((2 * wide, 0.07, back), (0, 0, back / 2)), r.uniform(0, 0.25), 0)
    parts.append(("back", Mesh(plate.vertices + np.array([0, -deep, 0]), plate.faces)))
    if r.random() < 0.25:
        parts += [("leg", cylinder(0.05, leg, (0, 0, -leg / 2))), ("leg", cylinder(wide * 0.8, 0.05, (0, 0, -leg)))]
    else:
        corners = [(x * wide * 0.85, y * deep * 0.85) for x in (-1, 1) for y in (-1, 1)]
        parts += [("leg", cylinder(0.04, leg, (x, y, -leg / 2))) for x, y in corners]
    if r.random() < 0.5:
        parts += [("arm", box((0.06, 1.6 * deep, 0.06), (x * wide, 0, 0.25))) for x in (-1, 1)]
    return parts


def guitar(r: Random) -> list[Part]:
    wide, neck, thick = r.uniform(0.3, 0.42), r.uniform(0.7, 1.0), r.uniform(0.06, 0.1)
    waist = r.uniform(0.7, 0.9)
    return [
        ("body", ball((wide, thick, wide), (0, 0, -0.3))),
        ("body", ball((wide * waist, thick, wide * waist), (0, 0, 0.1))),
        ("neck", box((0.1, 0.05, neck), (0, 0, 0.3 + neck / 2))),
        ("head", box((0.18, 0.05, r.uniform(0.15, 0.25)), (0, 0, 0.4 + neck))),
    ]


def lamp(r: Random) -> list[Part]:
    high, shade = r.uniform(0.7, 1.2), r.uniform(0.25, 0.45)
    tall = r.uniform(0.25, 0.45)
    return [
        ("base", cylinder(r.uniform(0.2, 0.35), 0.06)),
        ("pole", cylinder(0.035, high, (0, 0, high / 2))),
        ("shade", revolved([(shade, high - tall / 2), (shade * r.uniform(0.3, 0.9), high + tall / 2)])),
    ]


def mug(r: Random) -> list[Part]:
    wide, high, flare = r.uniform(0.3, 0.45), r.uniform(0.6, 1.0), r.uniform(0.85, 1.15)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 9)
    reach = r.uniform(0.2, 0.35)
    path = np.stack([wide + reach * np.cos(angles), 0 * angles, high / 2 + 0.3 * high * np.sin(angles)], 1)
    return [
        ("cup", revolved([(0, 0), (wide, 0), (wide * flare, high)])),
        ("handle", tube(path, r.uniform(0.03, 0.06))),
    ]


def rocket(r: Random) -> list[Part]:
    wide, high, fin = r.uniform(0.12, 0.25), r.uniform(0.9, 1.3), r.uniform(0.15, 0.35)
    parts = [
        ("body", cylinder(wide, high)),
        ("nose", revolved([(wide, high / 2), (wide * 0.7, high / 2 + 0.15), (0, high / 2 + r.uniform(0.25, 0.45))])),
    ]
    count = int(r.integers(3, 5))
    for k in range(count):
        plate = box((fin, 0.03, r.uniform(0.2, 0.4)), (wide + fin / 2, 0, -high / 2 + 0.1))
        parts.append(("fin", tilted(plate, 2 * np.pi * k / count, 2)))
    return parts


def skateboard(r: Random) -> list[Part]:
    length, width = r.uniform(0.8, 1.1), r.uniform(0.2, 0.3)
    parts = [("deck", box((2 * length, 2 * width, 0.05)))]
    for x in (-1, 1):
        kick = tilted(box((0.3, 2 * width, 0.05), (x * 0.15, 0, 0)), -x * r.uniform(0.2, 0.6), 1)
        parts.append(("deck", Mesh(kick.vertices + np.array([x * length, 0, 0]), kick.faces)))
        parts.append(("truck", box((0.12, 1.5 * width, 0.08), (x * length * 0.65, 0, -0.07))))
        parts += [("wheel", cylinder(0.08, 0.1, (x * length * 0.65, y * width * 0.9, -0.13), axis=1)) for y in (-1, 1)]
    return parts


def table(r: Random) -> list[Part]:
    wide, deep, leg = r.uniform(0.5, 0.9), r.uniform(0.4, 0.6), r.uniform(0.4, 0.8)
    if r.random() < 0.3:
        top = cylinder(wide, 0.07)
        return [
            ("top", top),
            ("leg", cylinder(0.07, leg, (0, 0, -leg / 2))),
            ("leg", cylinder(0.3, 0.05, (0, 0, -leg))),
        ]
    corners = [(x * wide * 0.9, y * deep * 0.9) for x in (-1, 1) for y in (-1, 1)]
    legs = [("leg", cylinder(0.05, leg, (x, y, -leg / 2))) for x, y in corners]
    return [("top", box((2 * wide, 2 * deep, 0.07))), *legs]


KINDS: dict[str, tuple[Callable[[Random], list[Part]], tuple[str, ...]]] = {
    "airplane": (airplane, ("body", "wing", "tail", "engine")),
    "bottle": (bottle, ("body", "neck", "cap")),
    "car": (car, ("body", "cabin", "wheel")),
    "chair": (chair, ("seat", "back", "leg", "arm")),
    "guitar": (guitar, ("body", "neck", "head")),
    "lamp": (lamp, ("base", "pole", "shade")),
    "mug": (mug, ("cup", "handle")),
    "rocket": (rocket, ("body", "nose", "fin")),
    "skateboard": (skateboard, ("deck", "truck", "wheel")),
    "table": (table, ("top", "leg")),
}
"""Each kind of object: how it is composed, and the names of its parts."""

PARTS: dict[str, tuple[int, ...]] = {}
"""Numbers of the parts of each kind, counted through."""
for _name, (_, _parts) in KINDS.items():
    _first = sum(map(len, PARTS.values()))
    PARTS[_name] = tuple(range(_first, _first + len(_parts)))

# -- from an object to a cloud -----------------------------------------------------------------------------

STRETCH = (0.7, 1.4)
HIDDEN = 0.5
"""Share of the surface that is hidden at most."""
NOISE = 0.04
"""Standard deviation of the noise, in units of the object's radius."""


def cloud(kind: str, points: int, random: Random) -> Cloud:
    """One object of a kind, (points, 6): coordinates and unit normals, with the class and the parts.

    Stretched along each axis, turned about the vertical one, hidden beyond a random plane, and with
    noise on coordinates and normals.
    """
    build, names = KINDS[kind]
    composed = build(random)
    mesh, owner = _merged(composed)
    visible = int(np.ceil(points / (1 - HIDDEN)))
    mesh = _turned(Mesh(mesh.vertices * random.uniform(*STRETCH, 3), mesh.faces), random.uniform(0, 2 * np.pi))
    xyz, face = sample_surface(mesh, visible, random)
    normals = mesh.area_vectors()[face]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    seen = _visible(xyz, random)[:points]
    xyz, normals, face = xyz[seen], normals[seen], face[seen]
    radius = np.linalg.norm(xyz - xyz.mean(0), axis=1).max()
    xyz = xyz + random.normal(0, NOISE * radius, xyz.shape)
    normals = normals + random.normal(0, 0.2, normals.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    numbers = np.array([PARTS[kind][names.index(name)] for name, _ in composed])
    return Cloud(
        points=np.concatenate([xyz, normals], 1).astype(np.float32),
        label=list(KINDS).index(kind),
        parts=numbers[owner[face]],
    )


def _merged(parts: list[Part]) -> tuple[Mesh, NDArray[np.int64]]:
    """One mesh of all parts, and the index of the part each triangle comes from."""
    starts = np.cumsum([0, *(len(mesh.vertices) for _, mesh in parts)])
    faces = np.concatenate([mesh.faces + start for (_, mesh), start in zip(parts, starts)])
    owner = np.concatenate([np.full(len(mesh.faces), index) for index, (_, mesh) in enumerate(parts)])
    return Mesh(np.concatenate([mesh.vertices for _, mesh in parts]), faces), owner


def _turned(mesh: Mesh, angle: float) -> Mesh:
    return tilted(mesh, angle, 2)


def _visible(xyz: Floats, random: Random) -> NDArray[np.int64]:
    """The points before a plane of random direction that hides up to `HIDDEN` of them, in random order."""
    direction = random.normal(size=3)
    depth = np.argsort(xyz @ (direction / np.linalg.norm(direction)), kind="stable")
    kept = len(xyz) - int(random.uniform(0, HIDDEN) * len(xyz))
    return random.permutation(depth[:kept])
