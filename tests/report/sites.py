"""A small site of all kinds of records, hostile names among them, and a reader of its pages."""

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.report import synthetic

from bibench.records.record import Record
from bibench.report.build import build
from bibench.report.material import Material

from ..records.test_records import make

HOSTILE = '<script>document.title="owned"</script>'
OPERATOR = f"evil[name='{HOSTILE}']"


def some_records() -> list[Record]:
    """Two tasks of synthetic cells, a failed and a collapsed one, and one whose every name is hostile."""
    found = [r for r in synthetic(22_000) if r.seed < 2 and r.severity in (None, 0, 1, 5)]
    first = next(r for r in found if r.kind == "score" and r.operator == "xnor")
    found = [r for r in found if r.cell != first.cell]
    found.append(replace(first, value=None, status="failed", reason="ran out of memory"))
    found.append(replace(first, model="vgg_small", operator="fda", seed=7, value=0.1, flags="collapsed", cell="odd"))
    names = {"task": HOSTILE, "model": HOSTILE, "operator": OPERATOR, "cell": f"{HOSTILE}/../../x", "reason": HOSTILE}
    found.append(make(**names, status="failed", value=None, recipe=HOSTILE, flags=HOSTILE))
    found.append(make(**{**names, "reason": ""}, value=0.5, recipe=HOSTILE, seed=1))
    found.append(make(**{**names, "reason": "", "operator": "fp32"}, value=0.6, recipe=HOSTILE, seed=1))
    return found


def make_site(folder: Path, records: list[Record] | None = None) -> Path:
    """The site of `some_records`, with the paper to compare with."""
    from bibench import published

    chosen = some_records() if records is None else records
    build(Material(chosen, against=published.records(), against_name="the paper"), folder)
    return folder


class Html(HTMLParser):
    """What a page holds: elements with their attributes, ids, links and text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.path = path
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        """Attributes of the elements of one kind."""
        return (attributes for name, attributes in self.elements if name == tag)

    @property
    def ids(self) -> list[str]:
        """All anchors."""
        return [a["id"] or "" for _, a in self.elements if "id" in a]
