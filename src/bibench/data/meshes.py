"""Triangle meshes: reading OFF and OBJ, and drawing points uniformly from the surface.

Parsed here rather than by a library, so that every kind of damage gets an error that names the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.foundation.errors import DataError
from bibench.foundation.files import unreadable
from bibench.foundation.lines import BLANK, split_lines
from bibench.foundation.numbers import check_finite

_WORD = re.compile(r"[^ \t\r]+")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Vertices (V, 3) and triangles (F, 3) as indices of vertices."""

    vertices: Floats
    faces: Integers

    def corners(self) -> Floats:
        """The three corners of every triangle, (F, 3, 3)."""
        return self.vertices[self.faces]

    def area_vectors(self) -> Floats:
        """(F, 3): normal to each triangle (by the right hand), as long as its area."""
        a, b, c = np.moveaxis(self.corners(), 1, 0)
        return np.cross(b - a, c - a) / 2


def sample_surface(mesh: Mesh, count: int, random: np.random.Generator) -> tuple[Floats, Integers]:
    """`count` points uniform over the surface (count, 3), and the triangle of each (count,).

    A triangle is drawn by its area, then a point uniform in it (Osada et al., "Shape Distributions",
    2002, section 4.2).
    """
    areas = np.linalg.norm(mesh.area_vectors(), axis=1)
    # From the cumulated areas by hand: Generator.choice refuses sums that are off by rounding.
    ends = np.cumsum(areas)
    chosen = np.searchsorted(ends, random.random(count) * ends[-1], side="right").clip(max=len(areas) - 1)
    root, along = np.sqrt(random.random(count))[:, None], random.random(count)[:, None]
    a, b, c = np.moveaxis(mesh.corners()[chosen], 1, 0)
    return (1 - root) * a + root * (1 - along) * b + root * along * c, chosen


def centred(mesh: Mesh) -> Mesh:
    """The mesh with the mean of its vertices at the origin and its largest coordinate 1 in magnitude."""
    vertices = mesh.vertices - mesh.vertices.mean(0)
    return Mesh(vertices / max(float(np.abs(vertices).max()), 1e-12), mesh.faces)


def read_off(path: Path) -> Mesh:
    """A mesh in the Object File Format; polygons are split into triangles.

    Accepts what ModelNet40 contains: the counts on the line of the header or glued to it (``OFF490 518 0``); and the
    rest of the text format (Geomview, "OFF Files"): vertices with normals, colours and texture (``STCNOFF``),
    faces with a colour of whole or broken numbers or an index of a map, comments and blank lines. Only the geometry
    is kept. Raises `DataError` for anything damaged, and where vertices are not of three numbers (``4OFF``, ``nOFF``).
    """
    try:
        text = path.read_bytes().decode("latin-1")  # comments are in any encoding, all else is ASCII
    except OSError as error:
        raise DataError(unreadable(path, error) or f"{path} cannot be read ({error})") from error
    if "\0" in text and not _BINARY.match(text):
        raise _damaged(str(path), "not a text file")
    return checked(_parse_off(text.removeprefix("ï»¿"), str(path)), str(path))


_HEADER = re.compile(r"(ST)?C?N?(?P<four>4)?(?P<any>n)?OFF")
_BINARY = re.compile(r"[STCN4n]*OFF\s+BINARY")


def _parse_off(text: str, source: str) -> Mesh:
    lines = [line for line in (raw.partition("#")[0].strip(BLANK) for raw in _lines(text)) if line]
    header = _HEADER.match(lines[0]) if lines else None
    if header is None:
        raise _damaged(source, "it does not start with OFF")
    if header["four"] or header["any"] or _BINARY.match(lines[0]):
        raise DataError(
            f"{source}: {' '.join(lines[0].split()[:2])[:20]!r} is a form of OFF that is not read, expected text with "
            "three coordinates a vertex; convert it to plain OFF"
        )
    lines = [rest, *lines[1:]] if (rest := lines[0][header.end() :].strip(BLANK)) else lines[1:]
    try:
        vertices, faces = (int(word) for word in _numbers(lines[0])[:2])
    except (ValueError, IndexError):
        raise _damaged(source, "the numbers of vertices and faces are missing") from None
    if vertices < 0 or faces < 0 or len(lines) < 1 + vertices + faces:
        raise _damaged(
            source, f"it announces {vertices} vertices and {faces} faces, but has {len(lines) - 1} lines; truncated?"
        )
    try:
        points = _points([_numbers(line)[:3] for line in lines[1 : 1 + vertices]], source)
        polygons = [_polygon(_numbers(line), source) for line in lines[1 + vertices : 1 + vertices + faces]]
        return Mesh(points, _triangles(polygons))
    except DataError:  # is a ValueError
        raise
    except (ValueError, OverflowError) as error:
        raise _damaged(source, str(error)) from error


def _polygon(words: list[str], source: str) -> list[int]:
    """The vertices of a face, which may be followed by a colour."""
    count = int(words[0])
    if not 0 <= count < len(words):
        raise _damaged(source, "a face names fewer vertices than it announces; truncated?")
    return [int(word) for word in words[1 : 1 + count]]


def parse_obj(text: str, source: str) -> Mesh:
    """The geometry of a Wavefront OBJ file: lines ``v`` and ``f``; materials and groups are ignored."""
    points: list[list[str]] = []
    polygons: list[list[int]] = []
    try:
        for raw in _lines(re.sub(r"\\\r?\n", " ", text)):  # a backslash continues a line
            line = raw.partition("#")[0]
            kind = (_words(line) or [""])[0]
            if kind == "v":
                points.append(_numbers(line)[1:4])
            elif kind == "f":
                corners = [int(word.partition("/")[0]) for word in _numbers(line)[1:]]
                # Indices count from 1; negative ones count back from the vertices so far.
                polygons.append([i - 1 if i > 0 else len(points) + i for i in corners])
        mesh = Mesh(_points(points, source), _triangles(polygons))
    except DataError:  # is a ValueError
        raise
    except (ValueError, OverflowError) as error:
        raise _damaged(source, str(error)) from error
    return checked(mesh, source)


def _lines(text: str) -> list[str]:
    """The lines of a mesh; without a newline in all of it, those of old Macs, which a carriage return ends."""
    return split_lines(text if "\n" in text else text.replace("\r", "\n"))


def _words(line: str) -> list[str]:
    """What blanks separate; others, such as a no-break space in the name of a material, do not."""
    return _WORD.findall(line)


def _numbers(line: str) -> list[str]:
    """The words of a line that holds numbers; a ``ValueError`` for what Python reads as a number and nobody else."""
    if not line.isascii() or "_" in line:
        raise ValueError(f"{line[:80]!r} is no line of numbers")
    return _words(line)


def _points(words: list[list[str]], source: str) -> Floats:
    if short := next((n for n, word in enumerate(words, 1) if len(word) != 3), None):
        raise _damaged(source, f"vertex {short} has {len(words[short - 1])} coordinates, expected 3")
    points = np.array(words, dtype=np.float64).reshape(-1, 3)
    check_finite(points, lambda row: f"{source} is damaged: a coordinate of vertex {row + 1}")
    return points


def _triangles(polygons: list[list[int]]) -> Integers:
    fans = [(p[0], b, c) for p in polygons for b, c in pairwise(p[1:])]
    return np.array(fans, dtype=np.int64).reshape(-1, 3)


def checked(mesh: Mesh, source: str) -> Mesh:
    """`mesh`, if points can be drawn from it; a `DataError` naming `source` otherwise."""
    if len(mesh.faces) == 0:
        raise _damaged(source, "the mesh has no faces")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise _damaged(source, f"a face refers to a vertex that is not there ({len(mesh.vertices)} vertices)")
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.linalg.norm(mesh.area_vectors(), axis=1).sum()
    if not area > 0:
        raise _damaged(source, "the surface has no area")
    if not np.isfinite(area):
        raise _damaged(source, "the surface is too large for its area to be a finite number")
    return mesh


def _damaged(source: str, reason: str) -> DataError:
    return DataError(f"{source} is damaged: {reason}; restore this file from the distribution")
