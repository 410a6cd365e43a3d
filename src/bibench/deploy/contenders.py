"""Who takes part in a measurement of latency: model files in engines, beside a full-precision baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bibench.deploy.engine_names import ONNX_ENGINES, engine_names
from bibench.deploy.identity import DEFAULT_ENGINES, identify, onnx_model
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.operators import FULL_PRECISION

ABOUT = ("task", "model", "recipe", "seed")
"""What a model and its baseline have in common."""


@dataclass(frozen=True)
class Contender:
    """One model file in one engine.

    Attributes:
        key: its name in the job.
        facts: fields of its records that say what it is.
        parts: its files, {name relative to its folder: file}.
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
    """The baseline first, in every engine of the models that reads its file; then every model in every engine.

    A speed-up is that within an engine. ONNX Runtime alone and with our operators are the same for a
    full-precision model; it takes part under both names if the models do.
    """
    for name in engines:
        if name not in engine_names():
            raise UnknownNameError(f"--engines: unknown engine {name!r}; known: {', '.join(engine_names())}")
    found: list[Contender] = []
    for file in models:
        facts, preferred = identify(file)
        for engine in engines or [preferred]:
            _require_readable(file, engine)
            found.append(Contender(f"model{len(found)}", file, engine, False, facts, _parts(file)))
    if baseline is not None:
        found = [*_baselines(baseline, found), *found]
    seen: dict[tuple[Any, ...], Contender] = {}
    for one in found:
        key = (*sorted(one.facts.items()), one.engine)
        if key in seen:
            raise BiBenchError(
                f"{one.file} and {seen[key].file} would both be recorded as {one.title}; rename one of them"
            )
        seen[key] = one
    return found


def _require_readable(file: Path, engine: str) -> None:
    """Refuse a file whose name says that it is another engine's."""
    wanted = {name: suffix for suffix, name in DEFAULT_ENGINES.items()} | dict.fromkeys(ONNX_ENGINES, ".onnx")
    if engine in wanted and file.suffix != wanted[engine] and file.suffix in wanted.values():
        made = (
            "bibench.deploy.engines.dabnn.to_dab makes"
            if engine == "dabnn"
            else f"bibench export --engine {engine} writes"
        )
        raise BiBenchError(f"{file}: engine {engine!r} reads {wanted[engine]} files; {made} one")


def _baselines(file: Path, models: Sequence[Contender]) -> list[Contender]:
    facts, preferred = identify(file)
    if facts["operator"] not in ("", FULL_PRECISION):
        raise BiBenchError(f"--baseline {file} is binarized ({facts['operator']}); give the full-precision model")
    told = [one.facts for one in models if one.facts["cell"] or one.facts["task"]]
    if not facts["task"]:  # files that say nothing of a task, as `bibench.export` writes them
        told += [one.facts for one in models if one.facts["operator"] not in ("", FULL_PRECISION)]
    about = next(iter(told), None)
    if facts["cell"]:
        for one in models:
            differs = next((name for name in ABOUT if one.facts[name] != facts[name]), None)
            if one.facts["cell"] and differs:
                raise BiBenchError(
                    f"--baseline {file} is of {differs} {facts[differs]!r}, {one.file} of {one.facts[differs]!r}; "
                    "measure them one after the other, each with its own baseline"
                )
    elif about is not None:  # a plain file: full precision of what it is compared with
        facts = {**about, "cell": "", "profile": "default"}
    facts = {**facts, "operator": FULL_PRECISION}
    family = [e for e in dict.fromkeys(one.engine for one in models) if _same_file(e, preferred)] or [preferred]
    return [
        Contender(f"baseline{number or ''}", file, engine, True, facts, _parts(file))
        for number, engine in enumerate(family)
    ]


def _same_file(engine: str, other: str) -> bool:
    """Whether two engines read the same files. An int8 model is no file of full precision, though."""
    float_engines = {name for name in ONNX_ENGINES if "int8" not in name}
    return engine == other or {engine, other} <= float_engines


def _parts(file: Path) -> dict[str, Path]:
    """The file and, for an ONNX model, those that hold its weights."""
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
    tensors = [t for graph in _graphs(onnx_model(file).graph) for t in graph.initializer]
    return sorted({entry.value for t in tensors for entry in t.external_data if entry.key == "location"})


def _graphs(graph: Any) -> list[Any]:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(deeper for one in inner for deeper in _graphs(one))]
