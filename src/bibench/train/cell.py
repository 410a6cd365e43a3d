"""One cell, from its directory to its done marker: the steps, in their order."""

from __future__ import annotations

from bibench.suite.cell import Cell
from bibench.train.code import code_of
from bibench.train.networks import arrange, compressor_for, convert, float_model, load_trained, load_weights
from bibench.train.settings import Hooks, Settings
from bibench.train.steps import STEPS, identity
from bibench.train.telling import COLLAPSE, failure_record, identity_fields, precision_of

__all__ = [
    "COLLAPSE",
    "Hooks",
    "Settings",
    "arrange",
    "compressor_for",
    "convert",
    "failure_record",
    "float_model",
    "identity_fields",
    "load_trained",
    "load_weights",
    "precision_of",
    "train_cell",
]


def train_cell(cell: Cell, settings: Settings, hooks: Hooks) -> None:
    """Run one cell to its done marker. The caller holds the cell's lock and handles what is raised."""
    way = identity(cell, settings, hooks, code_of)
    for step in STEPS:
        step(way)
