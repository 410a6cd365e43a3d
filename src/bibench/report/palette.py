"""Colours of the report: one accent, and a fixed colour and symbol per operator, in a light and a dark scheme.

Figures name colours by token (``@bnn``, ``@text``); the page's script puts in those of the scheme in use, so
that plots follow it. Operators differ in lightness and symbol too, so that no reader depends on hue
(after Okabe & Ito, "Color Universal Design").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bibench.operators import PAPER_ORDER, paper_order

SCHEMES: dict[str, dict[str, str]] = {
    "light": {
        "text": "#1c2430",
        "muted": "#566170",
        "surface": "#ffffff",
        "page": "#f7f7f4",
        "line": "#dcdfe3",
        "accent": "#0b6e99",
        "good": "#00795a",
        "bad": "#b3401a",
        "fill": "#e8f1f5",
        "1": "#0072b2",
        "2": "#d55e00",
        "3": "#009070",
        "4": "#b5508a",
        "5": "#3f9fd6",
        "6": "#a87400",
        "7": "#4b3fa0",
        "8": "#7a5230",
        "9": "#882255",
        "10": "#117733",
        "11": "#86862d",
        "12": "#a05a64",
        "0": "#59636f",
    },
    "dark": {
        "text": "#e6e8eb",
        "muted": "#a3adb9",
        "surface": "#1b2027",
        "page": "#13171c",
        "line": "#343c46",
        "accent": "#6cc0e5",
        "good": "#4fd0a8",
        "bad": "#ff9a70",
        "fill": "#1d2f3a",
        "1": "#4fa8e0",
        "2": "#ff8a4c",
        "3": "#2fc79a",
        "4": "#ea93c3",
        "5": "#a5dbf7",
        "6": "#edbd45",
        "7": "#a698ff",
        "8": "#cfa884",
        "9": "#e07fae",
        "10": "#6fcf83",
        "11": "#c9c95a",
        "12": "#e5a3ad",
        "0": "#aab3bf",
    },
}
SYMBOLS: tuple[str, ...] = (
    "circle-open",
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "x",
    "cross",
    "star",
    "pentagon",
    "hexagram",
)
SYMBOLS += ("triangle-down", "star-diamond", "star-triangle-up")
"""All of them have a form with a dot, by which `figures.trade_off` marks what was not measured."""
SEQUENTIAL = ((0.0, "#f3ead7"), (0.25, "#c7d4c0"), (0.5, "#7fb0b4"), (0.75, "#3c7ea3"), (1.0, "#1d3f72"))
"""From little to much; also readable without colour, since lightness falls throughout."""


def ranks(operators: Iterable[str]) -> dict[str, int]:
    """The place of each operator in the palette: the paper's have theirs for good, others follow by name."""
    known = {name: index for index, name in enumerate(PAPER_ORDER)}
    others = sorted({o for o in operators if o not in known}, key=paper_order)
    return known | {name: len(known) + index for index, name in enumerate(others)}


def token(place: int) -> str:
    """The colour of a place in the palette; beyond its end colours come again, with other symbols."""
    return f"@{place if place <= 12 else 1 + (place - 1) % 12}"


def symbol(place: int) -> str:
    """The symbol of a place in the palette."""
    return SYMBOLS[place % len(SYMBOLS)]


def resolve(value: Any, scheme: str = "light") -> Any:
    """`value` with tokens replaced by the colours of a scheme, as the page's script does."""
    if isinstance(value, str):
        return SCHEMES[scheme].get(value[1:], value) if value.startswith("@") else value
    if isinstance(value, dict):
        return {
            k: v if k in ("text", "customdata", "name", "x", "y", "title") else resolve(v, scheme)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [resolve(v, scheme) for v in value]
    return value
