"""Who takes part in a measurement of latency: model files in engines, beside a full-precision baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bibench.deploy.identity import identify
from bibench.errors import BiBenchError, require
from bibench.operators import FULL_PRECISION

ENGINES = {".onnx": "onnxruntime", ".tflite": "larq", ".dab": "dabnn"}
"""The engine of a file when none is asked for, unless its manifest says another."""


@dataclass(frozen=True)
class Contender:
    """One model file in one engine.

    Attributes:
        key: its name in the job.
        facts: fields of its records that say what it is.
    """

    key: str
    file: Path
    engine: str
    baseline: bool
    facts: Mapping[str, Any]
    parts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of its files on disk."""
        return sum(part.stat().st_size for part in self.parts.values())

    @property
    def title(self) -> str:
        """``resnet18 bnn (bibench)``."""
        return f"{self.facts['model']} {self.facts['operator']}".strip() + f" ({self.engine})"


def contenders(models: Sequence[Path], baseline: Path | None, engines: Sequence[str]) -> list[Contender]:
    """The baseline first, then every model in every engine; `BiBenchError` if two could not be told apart."""
    found: list[Contender] = []
    first: Mapping[str, Any] = {}
    for file in models:
        facts, preferred = identify(_existing(file))
        first = first or facts
        for engine in engines or [preferred or _default(file)]:
            found.append(Contender(f"model{len(found)}", file, engine, False, facts, _parts(file)))
    if baseline is not None:
        facts, preferred = identify(_existing(baseline))
        if not facts["operator"]:  # a plain file: full precision of what it is compared with
            facts = {
                **facts,
                **({"model": first["model"]} if first.get("operator") else {}),
                "operator": FULL_PRECISION,
            }
        engine = preferred or _default(baseline)
        found.insert(0, Contender("baseline", baseline, engine, True, facts, _parts(baseline)))
    seen: dict[tuple[Any, ...], Contender] = {}
    for one in found:
        key = (*sorted(one.facts.items()), one.engine)
        if key in seen:
            raise BiBenchError(
                f"{one.file} and {seen[key].file} would both be recorded as {one.title}; rename one of them"
            )
        seen[key] = one
    return found


def _default(file: Path) -> str:
    if file.suffix not in ENGINES:
        known = ", ".join(f"{engine} ({suffix})" for suffix, engine in ENGINES.items())
        raise BiBenchError(f"{file}: no engine is known for {file.suffix or 'it'}; name one with --engines: {known}")
    return ENGINES[file.suffix]


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise BiBenchError(f"{file} does not exist; expected a model file, as `bibench export` writes it")
    return file


def _parts(file: Path) -> dict[str, Path]:
    """The file and, for an ONNX model, those that hold its weights, {name relative to its folder: file}."""
    parts = {file.name: file}
    if file.suffix == ".onnx":
        for name in external_weights(file):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise BiBenchError(f"{file}: its weights {name!r} lie outside of its folder; save the model again")
            if not (file.parent / name).is_file():
                raise BiBenchError(f"{file}: its weights {name!r} are missing; copy them beside it")
            parts[name] = file.parent / name
    return parts


def external_weights(file: Path) -> list[str]:
    """Names of the files beside an ONNX model that hold weights of it."""
    require("onnx", extra="deploy", purpose="reading ONNX models")
    import onnx

    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # the parser has several, of a library that has no types
        raise BiBenchError(f"{file} is no ONNX model, or damaged ({error}); export it again") from error
    tensors = [t for graph in _graphs(model.graph) for t in graph.initializer]
    return sorted({entry.value for t in tensors for entry in t.external_data if entry.key == "location"})


def _graphs(graph: Any) -> list[Any]:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(deeper for one in inner for deeper in _graphs(one))]


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
