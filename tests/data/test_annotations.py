"""Readers of VOC and COCO on tiny files in the true form, sound and damaged."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bibench.data.annotations import CLIPPED, EMPTY, WITHOUT_AREA
from bibench.data.coco import read_coco
from bibench.data.detection import DetectionSamples
from bibench.data.voc import CLASSES, LARGEST_FILE, parse_xml, read_voc
from bibench.errors import DataError

# -- VOC -------------------------------------------------------------------------------------------------------


def voc_object(name: str = "dog", box: tuple = (11, 6, 30, 40), difficult: object = 0, more: str = "") -> str:
    corners = "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox>{more}</object>"


def voc_xml(*objects: str, size: tuple = (60, 50), head: str = "") -> str:
    return (
        f"{head}<annotation><folder>VOC2007</folder><size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>3</depth></size>{''.join(objects)}</annotation>"
    )


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Path]:
    """Write VOC2007 with one XML text per image, and give the devkit's folder."""

    def write(*annotations: str, year: str = "2007") -> Path:
        folder = tmp_path / "VOCdevkit" / f"VOC{year}"
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        names = [f"{number:06d}" for number in range(1, len(annotations) + 1)]
        for name, text in zip(names, annotations, strict=True):
            (folder / "Annotations" / f"{name}.xml").write_text(text)
            Image.new("RGB", (60, 50), (10, 20, 30)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{n}\n" for n in names))
        return tmp_path / "VOCdevkit"

    return write


TEST = [("2007", "test")]


def test_voc_objects_with_difficult_ones(voc: Callable[..., Path]) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    person = voc_object("person", ("45.7", 2, 60, 50), difficult=1, more=part)
    found = read_voc(voc(voc_xml(voc_object(), person), voc_xml(voc_object("aeroplane"))), TEST)
    first, second = found.images
    assert found.classes == CLASSES
    assert first.boxes.tolist() == [[10, 5, 30, 40], [pytest.approx(44.7), 1, 60, 50]]  # edges: 1 less on the left
    assert first.labels.tolist() == [CLASSES.index("dog"), CLASSES.index("person")]
    assert first.ignored.tolist() == [False, True]
    assert first.areas.tolist() == [700, pytest.approx(15.3 * 49, rel=1e-5)]
    assert second.labels.tolist() == [0]
    assert first.path.name == "000001.jpg"
    assert not +found.counts


def test_several_sets_follow_each_other(voc: Callable[..., Path]) -> None:
    voc(voc_xml(voc_object("cat")), year="2012")
    devkit = voc(voc_xml(voc_object("dog")))
    found = read_voc(devkit, [("2007", "test"), ("2012", "test")])
    assert [CLASSES[image.labels[0]] for image in found.images] == ["dog", "cat"]


def test_unusual_boxes_are_counted(voc: Callable[..., Path]) -> None:
    beyond, outside = voc_object(box=(50, 40, 70, 60)), voc_object(box=(61, 1, 80, 20))
    flat = voc_object(box=(31, 6, 30, 40))  # as edges: x from 30 to 30
    found = read_voc(voc(voc_xml(beyond, outside, flat), voc_xml(flat), voc_xml()), TEST)
    assert found.images[0].boxes.tolist() == [[49, 39, 60, 50]]
    assert [len(image.boxes) for image in found.images] == [1, 0, 0]
    assert found.images[2].boxes.shape == (0, 4)
    assert dict(found.counts) == {CLIPPED: 1, WITHOUT_AREA: 3, EMPTY: 2}
    assert len(found.for_training().images) == 1


def test_difficult_objects_are_not_trained_on(voc: Callable[..., Path]) -> None:
    both = voc_xml(voc_object("dog"), voc_object("cat", difficult=1))
    only = voc_xml(voc_object("cat", difficult=1))
    found = read_voc(voc(both, only), TEST)
    trained = found.for_training()
    assert [image.labels.tolist() for image in trained.images] == [[CLASSES.index("dog")]]
    assert [len(image.labels) for image in found.images] == [2, 1]


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>"""
FILE = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc_xml(voc_object("unicorn")), r"000001.xml: unknown class 'unicorn'; known are: aeroplane"),
        (voc_xml(voc_object(box=(30, 6, 10, 40))), r"000001.xml: box \[29.0, 5.0, 10.0, 40.0\] .* wrong order"),
        (voc_xml(voc_object(box=("nan", 6, 10, 40))), r"000001.xml: bndbox xmin is 'nan', expected a finite number"),
        (voc_xml(voc_object(box=("1_0", 6, 10, 40))), r"000001.xml: bndbox xmin is '1_0', expected a finite number"),
        (voc_xml(voc_object(box=("１", 6, 10, 40))), r"000001.xml: bndbox xmin is '１', expected a finite number"),
        (voc_xml(voc_object(box=("left", 6, 10, 40))), r"000001.xml: bndbox xmin is 'left', expected a finite number"),
        (voc_xml("<object><name>dog</name></object>"), r"000001.xml: bndbox xmin is None, expected a finite number"),
        (voc_xml(voc_object(difficult=7)), r"000001.xml: difficult is 7.*, expected 0 or 1"),
        (voc_xml(voc_object(), size=(0, 50)), r"000001.xml: size width is 0, expected a whole number from 1 to"),
        (
            voc_xml(voc_object(), size=("inf", 50)),
            r"000001.xml: size width is 'inf', expected a whole number from 1 to",
        ),
        ("<annotation></annotation>", r"000001.xml: size width is None, expected a whole number from 1 to"),
        (voc_xml(voc_object())[:-20], r"000001.xml is no well-formed XML"),
        ("", r"000001.xml is no well-formed XML"),
        (voc_xml(voc_object("&y;"), head=BOMB), r"000001.xml declares a document type"),
        (voc_xml(voc_object("&x;"), head=FILE), r"000001.xml declares a document type"),
        (voc_xml(voc_object(), head="<!--" + "x" * LARGEST_FILE + "-->"), r"000001.xml has more than"),
    ],
)
def test_damaged_voc_annotations_name_their_file(voc: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_voc(voc(text), TEST)


ENCODINGS = (
    "iso-8859-1",
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "shift_jis",
    "windows-1252",
    "gb18030",
)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_declared_encodings(voc: Callable[..., Path], encoding: str) -> None:
    said = {"shift_jis": "札幌 犬", "gb18030": "北京 狗", "iso-8859-1": "Zürich", "windows-1252": "Zürich"}.get(
        encoding, "Zürich 犬"
    )
    head = f"<?xml version='1.0' encoding='{encoding}'?>\n<!DOCTYPE annotation>\n<!-- {said} -->"
    text = voc_xml(voc_object("dog"), head=head).replace("<annotation>", f"<annotation><folder>{said}</folder>")
    devkit = voc(text)
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    file.write_bytes(text.encode(encoding))
    assert parse_xml(file).findtext("folder") == said
    assert read_voc(devkit, TEST).images[0].boxes.tolist() == [[10, 5, 30, 40]]


def test_marks_of_byte_order_and_undeclared_encodings(voc: Callable[..., Path]) -> None:
    devkit = voc(voc_xml(voc_object("dog")))
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    listed = devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    text = voc_xml(voc_object("dog"))
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        file.write_bytes(text.encode(encoding))
        assert read_voc(devkit, TEST).images[0].labels.tolist() == [CLASSES.index("dog")]


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ("klingon", b"", "declares the encoding 'klingon', which is not known; convert it to UTF-8"),
        ("base64", b"", "declares the encoding 'base64', which is not known; convert it to UTF-8"),
        ("utf-8", b"\n<!-- Z\xfcrich -->", r"no well-formed XML \(line 2: not the encoding utf-8"),
        ("shift_jis", b"\n\n\x81", r"no well-formed XML \(line 3: not the encoding shift_jis"),
        ("utf-8", b"\n\n<a><b></a>", r"no well-formed XML \(mismatched tag: line 3"),
    ],
)
def test_damaged_encodings_name_file_and_line(
    voc: Callable[..., Path], encoding: str, content: bytes, message: str
) -> None:
    devkit = voc(voc_xml(voc_object("dog")))
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    file.write_bytes(f"<?xml version='1.0' encoding='{encoding}'?>".encode() + content)
    with pytest.raises(DataError, match=rf"000001\.xml (is )?{message}"):
        read_voc(devkit, TEST)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("000001\n000001\n", "test.txt names image '000001' twice"),
        ("../../secret\n", "test.txt: '../../secret' is not the name of an image"),
        ("000001 -1\n", "test.txt: '000001 -1' is not the name"),
        ("\n\n", "test.txt names no image"),
        ("000001\x0c000002\n", r"test.txt: '000001\\x0c000002' is not the name"),
        ("000002\n", "000002.jpg is missing"),
    ],
)
def test_damaged_image_lists(voc: Callable[..., Path], listed: str, message: str) -> None:
    devkit = voc(voc_xml(voc_object()))
    (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text(listed)
    with pytest.raises(DataError, match=message):
        read_voc(devkit, TEST)


def test_missing_voc_files(voc: Callable[..., Path]) -> None:
    devkit = voc(voc_xml(voc_object()))
    with pytest.raises(DataError, match=r"train.txt cannot be read"):
        read_voc(devkit, [("2007", "train")])
    with pytest.raises(DataError, match=r"VOC2012.JPEGImages cannot be read"):
        read_voc(devkit, [("2012", "test")])
    (devkit / "VOC2007" / "Annotations" / "000001.xml").unlink()
    with pytest.raises(DataError, match=r"000001.xml cannot be read"):
        read_voc(devkit, TEST)


def test_images_that_are_damaged_or_another_size(voc: Callable[..., Path]) -> None:
    devkit = voc(voc_xml(voc_object()), voc_xml(voc_object(), size=(61, 50)), voc_xml(voc_object()))
    samples = DetectionSamples(read_voc(devkit, TEST))
    image, target = samples(0)
    assert image.shape == (3, 50, 60)
    assert 0 < float(image.max()) < 0.2
    assert target["boxes"].tolist() == [[10, 5, 30, 40]]
    with pytest.raises(DataError, match=r"000002.jpg has 60×50 pixels, but its annotation says 61×50"):
        samples(1)
    file = devkit / "VOC2007" / "JPEGImages" / "000003.jpg"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"000003.jpg is damaged"):
        samples(2)


# -- COCO ------------------------------------------------------------------------------------------------------

SOUND = {
    "images": [
        {"id": 9, "file_name": "000009.jpg", "width": 60, "height": 50},
        {"id": 4, "file_name": "000004.jpg", "width": 60, "height": 50},
        {"id": 5, "file_name": "000005.jpg", "width": 60, "height": 50},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 90, "bbox": [1, 2, 10, 20.5], "area": 100, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 60, 50], "area": 3000, "iscrowd": 1},
        {"id": 3, "image_id": 4, "category_id": 13, "bbox": [5, 5, 5, 5]},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}],
}


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Write an instances file, changed by a function, beside its images."""

    def write(change: Callable[[dict], object] = lambda data: None) -> tuple[Path, Path]:
        data = copy.deepcopy(SOUND)
        folder = tmp_path / "val2017"
        folder.mkdir(exist_ok=True)
        for image in data["images"]:
            Image.new("RGB", (60, 50)).save(folder / image["file_name"])
        change(data)
        file = tmp_path / "instances_val2017.json"
        file.write_text(json.dumps(data))
        return file, folder

    return write


def test_coco_objects_with_crowds_gaps_and_empty_images(coco: Callable[..., tuple[Path, Path]]) -> None:
    found = read_coco(*coco(), 3)
    assert found.classes == ("person", "stop sign", "toothbrush")
    assert [image.path.name for image in found.images] == ["000004.jpg", "000005.jpg", "000009.jpg"]
    one, none, two = found.images
    assert one.boxes.tolist() == [[5, 5, 10, 10]]
    assert (one.labels.tolist(), one.areas.tolist(), one.ignored.tolist()) == ([1], [25], [False])
    assert none.boxes.shape == (0, 4)
    assert two.boxes.tolist() == [[1, 2, 11, 22.5], [0, 0, 60, 50]]
    assert (two.labels.tolist(), two.areas.tolist(), two.ignored.tolist()) == ([2, 0], [100, 3000], [False, True])
    assert dict(+found.counts) == {EMPTY: 1}
    assert [len(image.labels) for image in found.for_training().images] == [1, 1]


def change(path: str, value: object) -> Callable[[dict], None]:
    """Set ``list.index.key`` of the data."""

    def apply(data: dict) -> None:
        *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in parents:
            data = data[step]
        data[last] = value

    return apply


def drop(path: str) -> Callable[[dict], None]:
    def apply(data: dict) -> None:
        kind, index, key = path.split(".")
        del data[kind][int(index)][key]

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("images.1.id", 9), "image id 9 occurs twice"),
        (change("annotations.1.id", 1), "annotation id 1 occurs twice"),
        (change("categories.1.id", 90), "category id 90 occurs twice"),
        (change("categories.1.name", None), "category 1.*: name is None, expected a string"),
        (change("annotations.0.image_id", []), r"annotation 1: image_id is a list, expected a whole number"),
        (change("annotations.0.category_id", {}), r"annotation 1: category_id is an object, expected a whole number"),
        (change("annotations.0.area", 10**400), "annotation 1: area is 1000"),
        (change("annotations.0.area", float("nan")), "annotation 1: area is nan"),
        (change("annotations.0.iscrowd", True), "annotation 1: iscrowd must be 0 or 1, got True"),
        (change("images.0.id", True), "image id True must be an integer"),
        (change("images.0.width", 10**400), "image 9 has the size 1000"),
        (change("images.0.id", "9"), "image id '9' must be an integer"),
        (change("images.0.file_name", "../a.jpg"), r"image 9 has the file name '../a.jpg', expected a plain one"),
        (change("images.0.file_name", "other.jpg"), r"other.jpg is missing; instances_val2017.json lists it"),
        (change("images.0.width", 0), "image 9 has the size 0×50"),
        (change("images.0.width", "60"), "image 9 has the size '60'×50"),
        (change("images", []), "lists no image"),
        (change("images", {}), "has no list 'images'"),
        (change("annotations.0.image_id", 77), "annotation 1 belongs to image 77, which the file does not list"),
        (change("annotations.0.category_id", 2), r"annotation 1 has the unknown category 2; known are \[1, 13, 90\]"),
        (change("annotations.0.bbox", [1, 2, 3]), "annotation 1: bbox must be"),
        (change("annotations.0.bbox", [1, 2, "3", 4]), "annotation 1: bbox must be"),
        (change("annotations.0.bbox", [1, 2, -3, 4]), r"image 9: box .* has its corners in the wrong order"),
        (change("annotations.0.bbox", [1, 2, float("nan"), 4]), "width of bbox is nan, expected a finite number"),
        (change("annotations.0.bbox", [10**400, 2, 3, 4]), "x of bbox is 1000.*, expected a finite number"),
        (change("annotations.0.bbox", [10**400, 2, 0.5, 4]), "x of bbox is 1000.*, expected a finite number"),
        (change("annotations.0.area", float("nan")), "annotation 1: area is nan, expected a finite number from 0"),
        (change("annotations.0.area", float("-inf")), "annotation 1: area is -inf, expected a finite number from 0"),
        (change("annotations.0.area", -1), "annotation 1: area is -1, expected a finite number from 0"),
        (change("annotations.0.area", 1e39), "annotation 1: area is 1e\\+39, expected a finite number from 0"),
        (change("annotations.0.iscrowd", 2), "annotation 1: iscrowd must be 0 or 1, got 2"),
        (drop("annotations.0.bbox"), "an annotation lacks one of id, image_id, category_id, bbox"),
        (drop("images.0.height"), "an image lacks one of id, file_name, width, height"),
        (lambda data: data["categories"].pop(), "has 2 categories, expected 3"),
    ],
)
def test_damaged_instances_name_their_file(
    coco: Callable[..., tuple[Path, Path]], damage: Callable, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_coco(*coco(damage), 3)
    assert "instances_val2017.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", '{"images": [{"id": 1, "fil', "[1, 2]", "[" * 100_000, "\xff"])
def test_json_that_cannot_be_read(coco: Callable[..., tuple[Path, Path]], text: str) -> None:
    file, folder = coco()
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=r"instances_val2017\.json"):
        read_coco(file, folder, 3)


def test_unusual_coco_boxes_are_counted(coco: Callable[..., tuple[Path, Path]]) -> None:
    def damage(data: dict) -> None:
        data["annotations"][0]["bbox"] = [50, 40, 20, 20]
        data["annotations"][2]["bbox"] = [5, 5, 0, 5]

    found = read_coco(*coco(damage), 3)
    assert dict(found.counts) == {CLIPPED: 1, WITHOUT_AREA: 1, EMPTY: 2}
    assert found.images[2].boxes[0].tolist() == [50, 40, 60, 50]


def test_parts_share_nothing_and_lose_nothing(coco: Callable[..., tuple[Path, Path]]) -> None:
    found = read_coco(*coco(), 3)
    held, rest = found.part(True, 2), found.part(False, 2)
    assert [image.path.name for image in held.images] == ["000004.jpg", "000009.jpg"]
    assert [image.path.name for image in rest.images] == ["000005.jpg"]


def test_checksum_sees_boxes(coco: Callable[..., tuple[Path, Path]]) -> None:
    first = DetectionSamples(read_coco(*coco(), 3)).checksum()
    assert DetectionSamples(read_coco(*coco(), 3)).checksum() == first
    moved = coco(change("annotations.2.bbox", [5, 6, 5, 5]))
    assert DetectionSamples(read_coco(*moved, 3)).checksum() != first


def test_a_list_may_have_a_mark_and_any_ends_of_lines(voc: Callable[..., Path]) -> None:
    devkit = voc(voc_xml(voc_object()), voc_xml(voc_object()))
    listing = devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes().replace(b"\n", b" \r\n"))
    assert [image.path.stem for image in read_voc(devkit, TEST).images] == ["000001", "000002"]


def test_one_image_is_too_few_to_cut_validation_from(voc: Callable[..., Path]) -> None:
    found = read_voc(voc(voc_xml(voc_object())), TEST)
    assert len(found.part(True, 20).images) == 1
    with pytest.raises(DataError, match=r"of 1 images, the first and every 20th .* expected at least 2 images"):
        found.part(False, 20)
