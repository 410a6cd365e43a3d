"""Export: a trained model to the file of an engine, with its manifest."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from bibench.deploy import manifest
from bibench.deploy.calling import arrays
from bibench.deploy.engine import ENGINES, Array, Calibration, Engine, LayerValues
from bibench.deploy.graph import canonical
from bibench.deploy.manifest import Manifest
from bibench.deploy.passes.nodes import SHIFT
from bibench.deploy.statement import statements
from bibench.foundation.errors import BiBenchError, BinarizationWarning, StoreError
from bibench.foundation.files import storing
from bibench.foundation.typed_json import problem
from bibench.nn import latent


def export(
    model: nn.Module,
    path: str | Path,
    example_inputs: Any,
    engine: str = "bibench",
    *,
    calibration: Calibration | None = None,
    provenance: dict[str, Any] | None = None,
    winograd: bool = True,
) -> Manifest:
    """Write a trained model as `path` for an engine, and its manifest beside it as JSON.

    Args:
        model: in evaluation mode, binarized by `bibench.binarize` or not; it is not changed.
        path: of the model file; the engine's extension is appended where it lacks.
        example_inputs: what the model is called with: a tensor, a tuple of positional or a dict of
            keyword arguments. The first axis is the batch and stays open.
        engine: see ``bibench list engines``.
        calibration: batches of inputs, for engines that choose ranges by data (``onnxruntime_int8``).
        provenance: what else the manifest should say about where the model is from.
        winograd: whether the float convolution at the model's input may become an operator that is faster and rounds
            differently (engine ``bibench``); the manifest's notes name it.

    Warns:
        BinarizationWarning: many weights of a 1-bit layer are exactly 0, as pruning leaves them, and count as +1.

    Raises:
        UnsupportedError: a layer that the engine does not run, with the reason; a model whose forward computes with
            more of its 1-bit layers than their outputs, or does not call them.
        BiBenchError: a model in training mode, or inputs that it does not take.
        StoreError: a path that cannot be written.
    """
    runner = ENGINES[engine]()
    if not isinstance(model, nn.Module):
        raise BiBenchError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; load its weights into one first"
        )
    _require_plain(provenance)
    path = model_path(path, runner)
    manifest.require_free(path)
    if runner.needs_calibration and calibration is None:
        raise BiBenchError(f"engine {engine!r} chooses ranges by data: give calibration, batches of model inputs")
    runner.require_support(model)
    signed = ((stated.name, stated.module) for stated in statements(model) if hasattr(stated.module, "weight"))
    if told := latent.zeros_told(signed):
        warnings.warn(told, BinarizationWarning, stacklevel=2)
    graph = canonical(model, example_inputs)
    graph.winograd = winograd
    runner.prepare(graph)
    graph.notes += runner.notes(graph)
    described = manifest.describe(graph, engine, path.name, provenance or {})
    _embed(graph, described)
    content = runner.convert(graph, calibration)
    described = replace(described, sha256=manifest.checksum(content), bytes=len(content))
    manifest.store(described, path, content)
    return described


def model_path(path: str | Path, engine: Engine) -> Path:
    """`path` with the engine's extension; a `BiBenchError` for one that would clash with the manifest."""
    path = Path(path)
    with storing(path):  # a name that is too long
        folder, found = path.is_dir(), path.parent.is_dir()
    if not found:
        raise StoreError(f"cannot write {path}: the folder {path.parent} does not exist; create it")
    if folder:
        raise BiBenchError(f"{path} is a folder; name the model file, such as {path / ('model' + engine.extension)}")
    if path.suffix == engine.extension:
        return path
    if path.suffix == ".json":
        raise BiBenchError(f"{path}: .json is the manifest's; name the model file {path.stem}{engine.extension}")
    if path.suffix in {ENGINES[name].extension for name in ENGINES}:
        raise BiBenchError(
            f"{path}: engine {engine.name!r} writes {engine.extension} files; name the model file "
            f"{path.stem}{engine.extension}, or choose another engine"
        )
    return path.with_name(path.name + engine.extension)


class Deployed:
    """A model file and its engine: call it with arrays.

    ``Deployed(path)(images)`` gives the list of outputs. `manifest` says what the model is.

    Args:
        path: of the model file, with its manifest beside it.
        threads: number of threads that it computes with.

    Raises:
        BiBenchError: no manifest, an engine that is not known, or a file that it cannot load.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        described = manifest.read(self.path)
        if described is None:
            raise BiBenchError(
                f"{self.path} has no manifest ({manifest.path_of(self.path).name}); keep the two files together, or "
                "open it with bibench.deploy.ort_session"
            )
        self.manifest = described
        self.engine = ENGINES[described.engine]()
        self.engine.require()
        self.loaded = self.engine.load(self.path, threads)

    def __call__(self, *inputs: Any) -> list[Array]:
        """Outputs for one batch of arrays (or tensors), in the order of the manifest."""
        return self.engine.run(self.loaded, arrays(inputs))

    def layer_values(self, *inputs: Any) -> dict[str, LayerValues] | None:
        """What each 1-bit layer sees and gives; None where the engine cannot tell."""
        return self.engine.layer_values(self.path, arrays(inputs))


def load(path: str | Path, threads: int = 1) -> Deployed:
    """Open an exported model, after its checksum was verified.

    Args:
        path: of the model file, with its manifest beside it.
        threads: number of threads that it computes with.

    Raises:
        BiBenchError: no manifest, an engine that is not known, or a file that it cannot load.
    """
    return Deployed(path, threads)


def _require_plain(provenance: dict[str, Any] | None) -> None:
    try:
        written = json.dumps(provenance or {}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BiBenchError(f"provenance goes into a JSON file, which it does not fit: {error}") from error
    if wrong := problem(json.loads(written), manifest.Provenance, "provenance"):
        raise BiBenchError(f"provenance does not fit into the manifest, from which it is read again: {wrong}")


def _embed(graph: Any, described: Manifest) -> None:
    facts = described.to_dict()
    graph.model.metadata_props[manifest.METADATA] = json.dumps(
        {key: facts[key] for key in ("format", "opset", "notes", "provenance")}
    )
    for node in graph.nodes.values():
        node.metadata_props.pop(SHIFT, None)  # the manifest has it
    graph.model.producer_name = "bibench"
    graph.model.producer_version = facts["provenance"]["bibench"]
