"""Names with options: parsing, printing and paths."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.foundation.choice import Choice, choice, split_list
from bibench.foundation.errors import BiBenchError

names = st.text(string.ascii_letters + string.digits + "_.+-", min_size=1, max_size=12)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.text(max_size=12),
    st.sampled_from(["True", "None", "1", "0.5", "a,b", "x]", "[", "it's", 'say "so"', "\\", "(1, 2)", "inf", "b=c"]),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@given(names, st.dictionaries(keys, values, max_size=4))
def test_what_is_printed_reads_back_as_the_same(name: str, options: dict) -> None:
    made = choice(name, **options)
    again = choice(str(made))
    assert again == made
    assert {k: (type(v), v) for k, v in again.options.items()} == {k: (type(v), v) for k, v in options.items()}


@given(names, st.dictionaries(keys, values, max_size=2))
def test_lists_split_where_they_were_joined(name: str, options: dict) -> None:
    parts = [str(choice(name, **options)), "bnn", str(choice("x", **options))]
    assert split_list(",".join(parts)) == parts


@given(st.text(max_size=40))
def test_any_text_is_a_choice_or_a_clear_error(text: str) -> None:
    try:
        made = choice(text)
    except BiBenchError as error:
        assert "is not of the form" in str(error)
    else:
        assert choice(str(made)) == made
        assert hash(made) == hash(choice(str(made)))


@given(names, st.dictionaries(keys, values, max_size=3))
def test_path_names_are_one_harmless_component(name: str, options: dict) -> None:
    assert re.fullmatch(r"[\w.,=+-]+", choice(name, **options).path_name)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("resnet20", {}),
        ("resnet20[]", {}),
        (" resnet20 [ width = 8 , stem = cifar ] ", {"width": 8, "stem": "cifar"}),
        ("r[a=0.5,b=True,c=None,d=-1]", {"a": 0.5, "b": True, "c": None, "d": -1}),
        ("r[a=(0.5, 0.75),b='x, y']", {"a": (0.5, 0.75), "b": "x, y"}),
        ("r[a=bf16-mixed,b=x/y]", {"a": "bf16-mixed", "b": "x/y"}),
        ("r[a=x=y]", {"a": "x=y"}),
        ("r[a=[1, 2],b={1: 2}]", {"a": "[1, 2]", "b": "{1: 2}"}),
        ("r[a=1e999,b=...,c=1j]", {"a": "1e999", "b": "...", "c": "1j"}),
    ],
)
def test_values_are_literals_or_strings(text: str, options: dict) -> None:
    assert choice(text).options == options


def test_options_have_one_order_and_keywords_add_to_them() -> None:
    assert choice("r[b=1,a=2]") == choice("r[a=2]", b=1) == Choice("r", (("a", 2), ("b", 1)))
    assert choice(choice("r[a=1]"), a=2).options == {"a": 2}
    assert str(choice("r[b=1,a=2]")) == "r[a=2,b=1]"


@pytest.mark.parametrize("text", ["", "a b", "a[x=1", "ax=1]", "a[x=1]b", "a/b", "a[x=1],b"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(BiBenchError, match=re.escape(f"{text!r} is not of the form name or name[option=value,...]")):
        choice(text)


@pytest.mark.parametrize(
    ("text", "part"), [("a[x]", "x"), ("a[y=1,2=3]", "2=3"), ("a[=1]", "=1"), ("a[b c=1]", "b c=1")]
)
def test_the_option_at_fault_is_named(text: str, part: str) -> None:
    with pytest.raises(BiBenchError, match=re.escape(f"{text!r}: {part!r} is not of the form option=value")):
        choice(text)


def test_lists_keep_the_commas_of_options_together() -> None:
    assert split_list("a, b[x=1,y=(2,3)] ,,c['[',']'],") == ["a", "b[x=1,y=(2,3)]", "c['[',']']"]
