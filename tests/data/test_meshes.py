"""Meshes: OFF and OBJ as they occur, every kind of damage, and points uniform over the surface."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.data.meshes import Mesh, centred, parse_obj, read_off, sample_surface
from bibench.foundation.errors import DataError

SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


def write(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "thing.off"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "header",
    ["OFF\n4 2 0\n", "OFF4 2 0\n", "OFF 4 2 0\n", "# made by hand\nOFF\n\n4 2 0 # counts\n", "OFF\r\n4 2 0\r\n"],
)
def test_headers_as_they_occur(tmp_path: Path, header: str) -> None:
    mesh = read_off(write(tmp_path, header + SQUARE + "3 0 1 2\n3 0 2 3\n"))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_polygons_are_split_and_colours_ignored(tmp_path: Path) -> None:
    mesh = read_off(write(tmp_path, "OFF\n4 1 0\n" + SQUARE + "4 0 1 2 3 255 0 0\n"))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.linalg.norm(mesh.area_vectors(), axis=1).sum() == pytest.approx(1)


WHOLE = "OFF\n4 2 0\n" + SQUARE + "3 0 1 2\n3 0 2 3\n"
VARIANTS = {
    "float colours of faces": WHOLE.replace("3 0 1 2", "3 0 1 2 0.9 0.25 1e-1").replace("3 0 2 3", "3 0 2 3 1 0 0 0.5"),
    "an index of a map of colours": WHOLE.replace("3 0 1 2", "3 0 1 2 7"),
    "colours of vertices": WHOLE.replace("OFF", "COFF").replace("1 1 0\n", "1 1 0 255 0 0 255\n"),
    "float colours of vertices": WHOLE.replace("OFF", "COFF").replace("1 1 0\n", "1 1 0 0.5 0.1 0 1.0\n"),
    "normals": WHOLE.replace("OFF", "NOFF").replace("1 1 0\n", "1 1 0 0 0 1\n"),
    "all there is": WHOLE.replace("OFF", "STCNOFF").replace("1 1 0\n", "1 1 0 0 0 1 1 0 0 1 0.5 0.5\n"),
    "texture, counts beside": WHOLE.replace("OFF\n", "STOFF "),
    "colours and glued counts": WHOLE.replace("OFF\n", "COFF"),
    "comments in any encoding": WHOLE.replace("OFF\n", "OFF # für Möbel\n\n# ─\n").replace("3 0 1 2", "3 0 1 2 # é"),
    "ends of lines of Windows": WHOLE.replace("\n", "\r\n"),
    "ends of lines of old Macs": WHOLE.replace("\n", "\r"),
    "exponents and tabs": WHOLE.replace("1 1 0\n", "1.0E+00\t10e-1   .0\n"),
    "no number of edges": WHOLE.replace("4 2 0", "4 2"),
    "a mark of UTF-8": "\ufeff" + WHOLE,
    "a polygon with a float colour": WHOLE.replace("3 0 1 2\n3 0 2 3", "4 0 1 2 3 0.1 0.2 0.3").replace(
        "4 2 0", "4 1 0"
    ),
}


@pytest.mark.parametrize("what", VARIANTS)
def test_variants_of_the_format_are_the_same_mesh(tmp_path: Path, what: str) -> None:
    mesh = read_off(write(tmp_path, VARIANTS[what]))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize("header", ["4OFF\n", "nOFF\n3\n", "ST4nOFF\n", "OFF BINARY\n\0\1", "COFF  BINARY\n"])
def test_forms_that_are_not_read_say_so(tmp_path: Path, header: str) -> None:
    with pytest.raises(
        DataError, match=r"thing\.off: '.*OFF.*' is a form of OFF that is not read.*convert it to plain"
    ):
        read_off(write(tmp_path, header + "4 2 0\n" + SQUARE))


def test_reads_as_trimesh_does(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    theirs = trimesh.creation.icosphere(subdivisions=2)
    file = tmp_path / "ball.off"
    theirs.export(file)
    ours = read_off(file)
    np.testing.assert_allclose(ours.vertices, theirs.vertices, atol=1e-6)
    assert ours.faces.tolist() == theirs.faces.tolist()
    np.testing.assert_allclose(np.linalg.norm(ours.area_vectors(), axis=1), theirs.area_faces, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not start with OFF"),
        ("PLY\n4 2 0\n", "does not start with OFF"),
        ("OFF\n", "numbers of vertices and faces are missing"),
        ("OFF\nmany 2 0\n", "numbers of vertices and faces are missing"),
        ("OFF\n4 0 0\n" + SQUARE, "the mesh has no faces"),
        ("OFF\n4 2 0\n" + SQUARE + "3 0 1 2\n", "announces 4 vertices and 2 faces, but has 5 lines; truncated?"),
        ("OFF\n99999999999 1 0\n" + SQUARE, "announces 99999999999 vertices"),
        ("OFF\n4 -1 0\n" + SQUARE, "announces 4 vertices and -1 faces"),
        ("OFF\n4 1 0\n" + SQUARE + "3 0 1\n", "a face names fewer vertices than it announces"),
        ("OFF\n4 1 0\n" + SQUARE + "3 0 1 4\n", "a face refers to a vertex that is not there"),
        ("OFF\n4 1 0\n" + SQUARE + "3 0 1 -1\n", "a face refers to a vertex that is not there"),
        (
            "OFF\n4 1 0\n" + SQUARE.replace("1 1 0", "1 nan 0") + "3 0 1 2\n",
            "a coordinate of vertex 3 is nan, expected a finite number",
        ),
        (
            "OFF\n4 1 0\n" + SQUARE.replace("1 1 0", "1 inf 0") + "3 0 1 2\n",
            "a coordinate of vertex 3 is inf, expected a finite number",
        ),
        ("OFF\n4 1 0\n" + SQUARE.replace("1 1 0", "1 1") + "3 0 1 2\n", "is damaged"),
        ("OFF\n6 1 0\n0 0\n1 0\n0 1\n5 9\n6 6\n7 8\n3 0 1 2\n", "vertex 1 has 2 coordinates, expected 3"),
        ("OFF\n4 1 0\n" + SQUARE + "3 0 1 x\n", "is damaged"),
        ("OFF\n4 1 0\n" + SQUARE + "-3 0 1 2 3\n", "a face names fewer vertices than it announces"),
        ("OFF\n4 1 0\n" + SQUARE + "3 0 1 99999999999999999999\n", "is damaged"),
        ("OFF\n4 1 0\n" + SQUARE + "3 1 1 1\n", "the surface has no area"),
        ("OFF\n4 1 0\n" + SQUARE + "2 0 1\n", "the mesh has no faces"),
        (b"OFF\n\xff\xfe\x00", "not a text file"),
    ],
)
def test_damage_is_told_with_the_file(tmp_path: Path, text: str | bytes, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_off(file)
    assert str(caught.value).startswith(str(file))
    assert problem in str(caught.value)
    assert "restore this file" in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.off cannot be read"):
        read_off(tmp_path / "none.off")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_mesh_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "any.off"
    file.write_bytes(b"OFF\n" + content)
    try:
        assert len(read_off(file).faces)
    except DataError as error:
        assert str(file) in str(error)


def test_obj_geometry() -> None:
    text = "# cube side\nmtllib ../../etc/passwd\no side\nv 0 0 0\nv 1 0 0 0.5\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nvt 0 0\n"
    mesh = parse_obj(text + "usemtl x\nf 1/1/1 2//1 3 4\nf -4 -3 -2\n", "a.obj")
    assert mesh.vertices.shape == (4, 3)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


def test_obj_comments_and_long_lines() -> None:
    mesh = parse_obj("v 0 0 0 # a\nv 1 0 0\nv 1 1 0\nf 1 2 \\\n3 # the only one\n", "a.obj")
    assert mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no faces"),
        ("v 0 0 0\nf 1 1 x\n", "invalid literal"),
        ("v 0 0\nv 1 1 1\nf 1 2 1\n", "is damaged"),
        ("v 0 1\nv 1 3\nv 2 9\nv 3 7\nv 4 1\nv 5 0\nv 9 2\nv 1 7\nv 3 3\nf 1 2 3\n", "vertex 1 has 2 coordinates"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "a vertex that is not there"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -9\n", "a vertex that is not there"),
    ],
)
def test_damaged_obj(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_obj(text, "a.obj")


def test_points_are_uniform_over_the_surface() -> None:
    """Two triangles of areas 1 : 3; in each the mean is the centroid and the covariance the triangle's."""
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 2, 0]], dtype=float)
    mesh = Mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    points, face = sample_surface(mesh, 40_000, np.random.default_rng(0))
    assert (face == 1).mean() == pytest.approx(0.75, abs=0.01)
    for index, corners in enumerate(mesh.corners()):
        own = points[face == index]
        spread = corners - corners.mean(0)
        np.testing.assert_allclose(own.mean(0), corners.mean(0), atol=0.03)
        np.testing.assert_allclose(np.cov(own.T), spread.T @ spread / 12, atol=0.02)


def test_degenerate_triangles_get_no_points_and_the_seed_decides() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    mesh = Mesh(vertices, np.array([[0, 0, 0], [0, 1, 2], [1, 1, 1]]))
    first, face = sample_surface(mesh, 500, np.random.default_rng(7))
    assert set(face.tolist()) == {1}
    assert np.array_equal(first, sample_surface(mesh, 500, np.random.default_rng(7))[0])
    assert not np.array_equal(first, sample_surface(mesh, 500, np.random.default_rng(8))[0])


def test_centred() -> None:
    mesh = centred(Mesh(np.array([[10, 10, 10], [14, 10, 10], [10, 12, 10]], dtype=float), np.array([[0, 1, 2]])))
    np.testing.assert_allclose(mesh.vertices.mean(0), 0, atol=1e-12)
    assert np.abs(mesh.vertices).max() == pytest.approx(1)


def test_separators_do_not_end_lines(tmp_path: Path) -> None:
    plain = "OFF\n4 1 0\n" + SQUARE + "3 0 1 2\n"
    expected = read_off(write(tmp_path, plain)).vertices.tolist()
    for separator in "\x0b\x0c\x1c":
        assert (
            read_off(write(tmp_path, plain.replace("OFF", f"OFF # by{separator}9 9 9"))).vertices.tolist() == expected
        )
    obj = "# Mod\x85v 9 9 9\nusemtl a\xa0b\x85f 1 1 1\nv 0 0 0\r\nv 1 0 0\nv 0 1 0\nf 1/1 2/2 3\n"
    mesh = parse_obj(obj, "a.obj")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("odd", ["1_0", "1e400", "１"])
def test_odd_numbers_of_models(odd: str, tmp_path: Path) -> None:
    text = f"v 0 0 {odd}\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    with pytest.raises(DataError, match=r"a\.obj is damaged: "):
        parse_obj(text, "a.obj")
    with pytest.raises(DataError, match=r"thing\.off is damaged: "):
        read_off(write(tmp_path, "OFF\n4 1 0\n" + SQUARE.replace("1 1 0", f"1 {odd} 0") + "3 0 1 2\n"))


def test_a_colour_of_fractions_is_ignored_too(tmp_path: Path) -> None:
    mesh = read_off(write(tmp_path, "OFF\n4 1 0\n" + SQUARE + "3 0 1 2 0.5 0.5 1.0\n"))
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_a_surface_too_large_for_its_area() -> None:
    with pytest.raises(DataError, match=r"a\.obj is damaged: the surface is too large"):
        parse_obj("v 0 0 0\nv 1e200 0 0\nv 0 1e200 0\nf 1 2 3\n", "a.obj")
