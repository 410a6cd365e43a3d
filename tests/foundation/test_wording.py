"""Numbers and names in sentences: singular and plural, lists, and the nearest known name."""

import pytest

from bibench.foundation.wording import counted, listed, meant, plural, verb


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("cell", "cells"),
        ("latency", "latencies"),
        ("day", "days"),
        ("half", "halves"),
        ("loss", "losses"),
        ("task × model", "task × model pairs"),
        ("match", "matches"),
    ],
)
def test_plurals(noun: str, many: str) -> None:
    assert (plural(noun, 1), plural(noun, 0), plural(noun, 2)) == (noun, many, many)


def test_counts_and_verbs() -> None:
    assert (counted(1, "cell"), counted(0, "cell"), counted(1024, "cell")) == ("1 cell", "0 cells", "1,024 cells")
    assert (verb(1, "is", "are"), verb(0, "is", "are"), verb(2, "is", "are")) == ("is", "are", "are")


def test_lists() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert listed(["a", "b"], "or") == "a or b"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recv", "; did you mean 'recu[a=1]'?"),
        ("BNN", "; did you mean 'bnn'?"),
        ("quaternion", "."),
        ("bn", "; did you mean 'bnn'?"),
    ],
)
def test_what_is_meant(name: str, said: str) -> None:
    assert meant(name, ["bnn", "recu[a=1]", "fda"]) == said
    assert meant(name, []) == "."
