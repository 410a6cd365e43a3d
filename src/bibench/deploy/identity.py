"""What a model file is: the fields of its records, from its manifest if it has one, else from its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bibench.deploy import domain, manifest
from bibench.deploy.manifest import Manifest
from bibench.foundation.errors import BiBenchError, naming
from bibench.foundation.files import unreadable
from bibench.operators import FULL_PRECISION
from bibench.suite.cell import Cell

UNKNOWN: Mapping[str, Any] = {
    "cell": "",
    "task": "",
    "embedded": False,
    "family": "",
    "operator": "",
    "recipe": "",
    "seed": 0,
}
"""Of a file that says nothing about itself."""
DEFAULT_ENGINES = {".onnx": "onnxruntime", ".tflite": "larq", ".dab": "dabnn"}


def identify(file: Path) -> tuple[dict[str, Any], str]:
    """Record fields of the model in `file`, whose checksum is verified if it has a manifest, and its engine."""
    if not file.is_file():
        problem = "is a folder" if file.is_dir() else "does not exist"
        raise BiBenchError(f"{file} {problem}; expected a model file, as `bibench export` writes it")
    found = manifest.read(file)
    facts = {**UNKNOWN, "model": file.stem}
    if found is None:
        return facts, default_engine(file)
    if "cell" in found.provenance:
        with naming(manifest.path_of(file)):
            return {**facts, **_of_cell(found.provenance["cell"])}, found.engine
    said = {name: str(found.provenance[name]) for name in ("task", "model", "operator") if found.provenance.get(name)}
    return {**facts, "operator": _audited(found), **said}, found.engine


def _of_cell(described: dict[str, Any]) -> dict[str, Any]:
    from bibench.train.cell import identity_fields

    return identity_fields(Cell.from_dict(described))


def _audited(found: Manifest) -> str:
    """The operator of all binarized layers, several with a plus, or full precision."""
    rows = found.audit.get("rows", [])
    names = sorted({str(row["operator"]) for row in rows if row.get("operator")} - {FULL_PRECISION})
    return "+".join(names) or FULL_PRECISION


def default_engine(file: Path) -> str:
    """The engine for a file that does not say."""
    if file.suffix not in DEFAULT_ENGINES:
        known = ", ".join(f"{engine} ({suffix})" for suffix, engine in DEFAULT_ENGINES.items())
        raise BiBenchError(f"{file}: no engine is known for {file.suffix or 'it'}; name one with --engines: {known}")
    if file.suffix == ".onnx" and domain.DOMAIN in {one.domain for one in onnx_model(file).opset_import}:
        return "bibench"
    return DEFAULT_ENGINES[file.suffix]


def onnx_model(file: Path) -> Any:
    """The parsed model, without weights that lie in other files."""
    from bibench.foundation.errors import require

    require("onnx", extra="deploy", purpose="reading ONNX models")
    import onnx

    try:
        return onnx.load(str(file), load_external_data=False)
    except Exception as error:  # the parser has several, of a library that has no types
        raise BiBenchError(
            unreadable(file, error) or f"{file} is no ONNX model, or damaged ({error}); export it again"
        ) from error
