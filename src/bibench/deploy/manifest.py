"""The manifest beside a deployed model: where it comes from, what is in it, and its checksum."""

from __future__ import annotations

import datetime
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict

import numpy as np

from bibench.deploy import domain
from bibench.deploy.graph import OPSET, Canonical
from bibench.deploy.passes.nodes import SHIFT
from bibench.foundation.errors import StoreError
from bibench.foundation.files import leftovers, read_json, remove_leftovers, unreadable, write_atomically, write_bytes
from bibench.foundation.locks import exclusive
from bibench.foundation.typed_json import problem
from bibench.records.provenance import git_state, versions
from bibench.suite.cell import Described

FORMAT = 1
METADATA = "bibench"
"""Key of the manifest in an ONNX model's metadata (there without checksum and size)."""


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, shape (a name where the length is open) and NumPy's name of its type."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Manifest:
    """What a deployed model is.

    Attributes:
        engine, file: who runs it, and its name.
        sha256, bytes: of the file ("" and 0 inside the file itself).
        inputs, outputs: in order.
        layers: of each 1-bit layer the names of the values whose signs it takes, and of its output; `shift`
            is what the model adds to that value and the layer's threshold holds instead.
        opset: standard operators and domain `bibench`.
        audit: of the trained model: bits, parameters and MACs of each layer.
        folded: how often each pass folded something into a 1-bit operator.
        notes: what was left out or could not be done.
        provenance: versions, commit, time, and the cell or checkpoint.
    """

    engine: str
    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sha256: str = ""
    bytes: int = 0
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    opset: dict[str, int] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        tensors = {
            which: [{"name": t.name, "shape": list(t.shape), "dtype": t.dtype} for t in getattr(self, which)]
            for which in ("inputs", "outputs")
        }
        return {**vars(self), **tensors, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Any, source: str) -> Manifest:
        """The inverse of `to_dict`; `StoreError` for anything else."""
        if isinstance(data, dict) and type(data.get("format")) is int and data["format"] > FORMAT:
            raise StoreError(f"{source} was made by a newer bibench (format {data['format']}); upgrade")
        if wrong := problem(data, _Json) or _unusable(data):
            raise StoreError(f"{source} is not a manifest ({wrong}); export the model again")
        tensors = {
            which: tuple(Tensor(t["name"], tuple(t["shape"]), t["dtype"]) for t in data[which])
            for which in ("inputs", "outputs")
        }
        return cls(**{**data, **tensors, "notes": tuple(data["notes"])})


class _Tensor(TypedDict):
    name: str
    shape: list[int | str]
    dtype: str


class _Layer(TypedDict):
    inputs: list[str]
    output: str
    shift: NotRequired[Any]


class _Row(TypedDict, total=False):
    name: str
    operator: str
    weight_bits: int
    activation_bits: int
    macs: int | None
    slow: str


class _Audit(TypedDict, total=False):
    rows: list[_Row]


class Provenance(TypedDict, total=False):
    """What a manifest says of where its model is from, as far as it is read again."""

    cell: Described
    task: str | None
    model: str | None
    operator: str | None


class _Json(TypedDict):
    """A manifest in JSON."""

    engine: str
    file: str
    sha256: str
    bytes: int
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    layers: dict[str, _Layer]
    opset: dict[str, int]
    audit: _Audit
    folded: dict[str, int]
    notes: list[str]
    provenance: Provenance
    format: int


def _unusable(data: dict[str, Any]) -> str:
    """What is wrong with values of the right types, in words; "" if nothing is."""
    if unknown := sorted(data.keys() - _Json.__annotations__.keys()):
        return f"unknown field {unknown[0]!r}"
    if not data["file"].strip(".") or Path(data["file"]).name != data["file"] or "\0" in data["file"]:
        return f"file is {data['file']!r}, expected the name of the file beside it"
    for layer, values in data["layers"].items():
        if not _is_array(values.get("shift", 0.0)):
            return f"layers[{layer!r}].shift is no number or array of numbers"
    for which in ("inputs", "outputs"):
        for number, tensor in enumerate(data[which]):
            if not _is_dtype(tensor["dtype"]):
                return f"{which}[{number}].dtype is {tensor['dtype']!r}, expected NumPy's name of a type of numbers"
    return ""


def _is_array(value: Any) -> bool:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return False
    return array.dtype.kind in "iuf" and bool(np.isfinite(array.astype(np.float32)).all())


def _is_dtype(name: str) -> bool:
    try:
        kind = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        return False
    return not kind.hasobject and kind.names is None


def describe(canonical: Canonical, engine: str, file: str, provenance: dict[str, Any]) -> Manifest:
    """The manifest of a canonical graph, without checksum."""
    graph = canonical.model.graph
    return Manifest(
        engine=engine,
        file=file,
        inputs=tuple(_tensor(v) for v in graph.inputs),
        outputs=tuple(_tensor(v) for v in graph.outputs),
        layers={name: _values(node) for name, node in canonical.nodes.items()},
        opset={"ai.onnx": OPSET, domain.DOMAIN: domain.VERSION},
        audit=canonical.audit.to_dict(),
        folded=canonical.folded,
        notes=tuple(canonical.notes),
        provenance={
            **_made_now(),
            **provenance,
        },
    )


def path_of(model: Path) -> Path:
    """Where the manifest of a model file is."""
    return model.with_suffix(".json")


def require_free(model: Path) -> None:
    """Raise when the manifest of a model file would replace a file that is none, or that of another model."""
    path = path_of(model)
    if not path.exists():
        return
    try:
        found = Manifest.from_dict(read_json(path), str(path))
    except StoreError as error:
        if model.exists() and not _foreign(path):  # its manifest is damaged, and exporting again is the cure
            return
        raise StoreError(
            f"{path} is where the manifest of {model.name} belongs, and is another file; choose another name"
        ) from error
    if found.file != model.name and model.with_name(found.file).exists():
        raise StoreError(
            f"{path} is the manifest of {found.file}, which needs it; choose another name than {model.stem}"
        )


def store(manifest: Manifest, model: Path, content: bytes) -> None:
    """Write a model file and its manifest: both, or where the disk is full neither, and older ones stay.

    Where the process is killed between the two, `read` finds the new manifest under the name that it was written by.
    """

    def write(stream: BinaryIO) -> None:
        stream.write(text.encode())
        stream.flush()  # before the old model is replaced
        write_bytes(model, content)

    text = json.dumps(manifest.to_dict(), indent=2, allow_nan=False) + "\n"
    with exclusive(model):
        remove_leftovers(model.parent, path_of(model).name)
        write_atomically(path_of(model), write)


def _foreign(path: Path) -> bool:
    """Whether a file is whole JSON of another kind, such as the labels of classes."""
    try:
        found = read_json(path)
    except StoreError:
        return False
    return not (isinstance(found, dict) and {"format", "engine", "sha256"} & found.keys())


def read(model: Path) -> Manifest | None:
    """The manifest of a model file, or None; `StoreError` when the file is not what the manifest describes."""
    if not model.is_file():
        raise StoreError(f"{model} is a folder; name the model file" if model.is_dir() else f"{model} does not exist")
    path = path_of(model)
    if path == model:
        raise StoreError(f"{model} is where the manifest of a model is; name the model file beside it")
    if not path.exists():
        return _unplaced(path, model)
    found = _checksum(model)
    manifest = Manifest.from_dict(read_json(path), str(path))
    if manifest.sha256 != found:
        if (unplaced := _unplaced(path, model)) is not None:
            return unplaced
        raise StoreError(
            f"{model} is not the file that {path.name} describes: its checksum is {found[:12]}..., expected "
            f"{manifest.sha256[:12]}...; it is truncated or was changed. Export it again"
        )
    return manifest


def _unplaced(path: Path, model: Path) -> Manifest | None:
    """The manifest of `model` that an export, killed when the model was in its place, left beside `path`."""
    for scratch in leftovers(path.parent, path.name):
        with suppress(StoreError):
            manifest = Manifest.from_dict(read_json(scratch), str(scratch))
            if manifest.file == model.name and manifest.sha256 == _checksum(model):
                return manifest
    return None


def _checksum(model: Path) -> str:
    try:
        return checksum(model.read_bytes())
    except (OSError, MemoryError) as error:
        raise StoreError(unreadable(model, error) or f"{model} cannot be read ({error})") from error


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _values(node: Any) -> dict[str, Any]:
    signed = node.inputs[:3] if node.op_type == domain.ATTENTION else node.inputs[:1]
    values = {"inputs": [value.name for value in signed], "output": node.outputs[0].name}
    shift = node.metadata_props.get(SHIFT)
    return values if shift is None else {**values, "shift": json.loads(shift)}


def _tensor(value: Any) -> Tensor:
    shape = tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)
    return Tensor(value.name, shape, str(value.dtype.numpy()))


def _made_now() -> dict[str, Any]:
    commit, dirty = git_state()
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"made": made, **versions(), "git_commit": commit, "git_dirty": dirty}
