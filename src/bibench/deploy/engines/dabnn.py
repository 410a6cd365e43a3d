"""daBNN: the ONNX form that its converter takes, a check of it, and the converter where its user has it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bibench.deploy import manifest, onnx_file, session
from bibench.deploy.dabnn.pattern import check_pattern
from bibench.deploy.dabnn.writing import write
from bibench.deploy.engine import Array, Calibration, Engine, LayerValues, engine
from bibench.deploy.graph import Canonical
from bibench.deploy.identity import onnx_model
from bibench.deploy.statement import Stated
from bibench.foundation.errors import BiBenchError, MissingLibraryError, require
from bibench.foundation.files import write_bytes

VARIABLE = "BIBENCH_ONNX2BNN"
"""Environment variable: daBNN's converter, which its user built."""
SECONDS = 600.0


@engine("dabnn")
class DaBNN(Engine):
    """Runs on ARM alone. Here ONNX Runtime computes the file as daBNN does, with sign(0) = -1: proof of the file."""

    title = "daBNN"
    pad_value = -1.0
    note = (
        "daBNN takes sign(0) = -1, training +1: an activation of exactly 0 (such as behind a ReLU) flips; the batch "
        "is 1; clips become ReLUs, equal up to rounding"
    )

    def available(self) -> str:
        try:
            require("onnxruntime", extra="deploy", purpose="checking models for daBNN")
        except MissingLibraryError as error:
            return str(error)
        return ""

    def refusal(self, layer: Stated) -> str:
        if layer.kind != "conv2d":
            return f"a 1-bit {layer.kind}; daBNN has 1-bit 2-d convolutions alone"
        form, spec = layer.form, layer.spec
        assert form is not None
        assert spec is not None
        if form.activation_scale:
            return "an activation scale computed at run time; daBNN has constants per channel alone"
        if form.spatial_scale:
            return "a scale along the axes of the map; daBNN has constants per channel alone"
        if form.threshold is not None:
            return "a threshold before the sign (mean-shift); daBNN takes the sign at 0"
        if spec.groups != 1:
            return f"a grouped convolution (groups={spec.groups}); daBNN has one group"
        if any(spec.padding) and spec.padding_mode != "zeros":
            return f"padding mode {spec.padding_mode!r}; daBNN pads with -1"
        if any(spec.padding) and spec.pad_value != -1:
            return f"a border of {spec.pad_value:g}; daBNN pads with -1: train with bibench.binarize(..., pad_value=-1)"
        return ""

    def notes(self, canonical: Canonical) -> list[str]:
        return [self.note]

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        return bytes(write(canonical).SerializeToString())

    def load(self, path: Path, threads: int = 1) -> Any:
        self.require()
        return _session(_checked(path), threads, str(path))

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        runs = [onnx_file.run(loaded, [np.asarray(x)[i : i + 1] for x in inputs]) for i in range(len(inputs[0]))]
        return [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    def layer_values(self, path: Path, inputs: Sequence[Array]) -> dict[str, LayerValues] | None:
        parts = [
            onnx_file.layer_values(path, [np.asarray(x)[i : i + 1] for x in inputs], _opener(path))
            for i in range(len(inputs[0]))
        ]
        if any(part is None for part in parts):
            return None
        found: dict[str, list[LayerValues]] = {}
        for part in parts:
            for layer, values in (part or {}).items():
                found.setdefault(layer, []).append(values)
        return {
            layer: LayerValues(
                tuple(np.concatenate(xs) for xs in zip(*(v.inputs for v in all_), strict=True)),
                np.concatenate([v.product for v in all_]),
            )
            for layer, all_ in found.items()
        }


def to_dab(path: str | Path, target: str | Path = "") -> Path:
    """Convert an exported model to daBNN's own format by its converter in strict mode.

    Args:
        path: what ``bibench export --engine dabnn`` wrote.
        target: the file to write; default: beside it, ``<name>-dabnn.dab``.

    Raises:
        MissingLibraryError: without the environment variable ``BIBENCH_ONNX2BNN``.
        BiBenchError: a file that is not in the strict form, or what the converter says.
    """
    path = Path(path)
    target = Path(target) if str(target) else path.with_name(f"{path.stem}-dabnn.dab")
    program = os.environ.get(VARIABLE)
    if not program:
        raise MissingLibraryError(
            f"daBNN's converter is not known: build onnx2bnn of daBNN, then export {VARIABLE}=/path/to/onnx2bnn"
        )
    _checked(path)
    manifest.read(path)
    with tempfile.TemporaryDirectory(prefix="bibench-") as folder:
        made = Path(folder, "model.dab")
        try:
            done = subprocess.run(
                [program, str(path.resolve()), str(made), "--strict"], capture_output=True, timeout=SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BiBenchError(f"{VARIABLE}={program} cannot be run: {error}") from error
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
        if done.returncode or not made.is_file():
            raise BiBenchError(f"daBNN's converter refuses {path}: {said or f'it ended with {done.returncode}'}")
        content = made.read_bytes()
    write_bytes(target, content)
    return target


def _checked(path: Path) -> Any:
    model = onnx_model(path)
    if problems := check_pattern(model):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BiBenchError(f"{path} is not in the form that daBNN takes: {problems[0]}{more}; export it again")
    return model


def _opener(path: Path) -> Any:
    from onnx import load_from_string

    return lambda content: _session(load_from_string(content), 1, str(path))


def _session(model: Any, threads: int, source: str) -> Any:
    """A session in which each sign of an activation is -1 at 0, as daBNN packs bits."""
    from onnx import helper, numpy_helper

    constants = {t.name for t in model.graph.initializer}
    values = {"zero/sign": 0.0, "one/sign": 1.0, "minus/sign": -1.0}
    model.graph.initializer.extend(numpy_helper.from_array(np.float32(v).reshape(1), k) for k, v in values.items())
    made = []
    for node in model.graph.node:
        if node.op_type != "Sign" or node.input[0] in constants:
            made.append(node)
            continue
        above = f"{node.output[0]}/above"
        made.append(helper.make_node("Greater", [node.input[0], "zero/sign"], [above]))
        made.append(helper.make_node("Where", [above, "one/sign", "minus/sign"], list(node.output)))
    del model.graph.node[:]
    model.graph.node.extend(made)
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return session.open_session(model.SerializeToString(), session.session_options(threads), source)
