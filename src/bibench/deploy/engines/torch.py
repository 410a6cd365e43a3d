"""PyTorch: the model without its training parts as a `torch.export` program, in plain tensor operations."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils._pytree import tree_unflatten

from bibench.deploy import manifest, operations
from bibench.deploy.calling import flat
from bibench.deploy.engine import Array, Calibration, Engine, check_inputs, engine
from bibench.deploy.graph import Canonical, dynamic_shapes
from bibench.foundation.errors import BiBenchError, UnsupportedError
from bibench.foundation.files import unreadable


@engine("torch")
class Torch(Engine):
    """The reference: computes with the functions that the layers train with."""

    title = "PyTorch"
    packed = False
    extension = ".pt2"

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        example = canonical.example
        shapes = dynamic_shapes(canonical.frozen, example) if canonical.dynamic else None
        try:
            program = torch.export.export(canonical.frozen, example.args, example.kwargs or None, dynamic_shapes=shapes)
        except Exception as error:  # of many kinds; what it says is all that helps
            raise UnsupportedError(
                f"torch.export cannot take this model with an open batch: {' '.join(str(error).split())[:300]}"
            ) from error
        program.example_inputs = None
        stream = io.BytesIO()
        torch.export.save(program, stream)
        return stream.getvalue()

    def load(self, path: Path, threads: int = 1) -> Any:
        assert operations.translations()  # registers the operators that the program refers to
        described = manifest.read(path)
        if described is None:
            raise BiBenchError(f"{path} has no manifest, which lists its inputs; export the model again")
        _refuse_pickles(path)
        try:
            program = torch.export.load(path)
        except Exception as error:  # of many kinds, from a damaged archive
            problem = f"{path} is not a program of torch.export: {str(error).splitlines()[0]}"
            raise BiBenchError(unreadable(path, error) or problem) from error
        inputs = [(t.name, t.shape, t.dtype) for t in described.inputs]
        return program.module(), inputs, threads, _caller(program)

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        module, expected, threads, called_with = loaded
        args, kwargs = called_with([torch.from_numpy(array) for array in check_inputs(expected, inputs)])
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                outputs = module(*args, **kwargs)
        finally:
            torch.set_num_threads(before)
        return [output.numpy() for output in flat(outputs)]


def _caller(program: Any) -> Callable[[Sequence[Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]:
    """From the tensors to the arguments, by position and by name, that the program was made with."""
    slots = [s.arg for s in program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
    structure = program.call_spec.in_spec

    def arranged(tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = iter(tensors)
        leaves = [slot.value if isinstance(slot, ConstantArgument) else next(given) for slot in slots]
        args, kwargs = tree_unflatten(leaves, structure)
        return args, kwargs

    return arranged


def _refuse_pickles(path: Path) -> None:
    """A program's archive may hold pickles, which run code when they are loaded; ours hold none."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("config.json") and _has_pickle(json.loads(archive.read(name))):
                    raise BiBenchError(f"{path} holds pickled objects, which could run code; it was not opened")
    except (zipfile.BadZipFile, ValueError, OSError, RecursionError) as error:
        if isinstance(error, BiBenchError):
            raise
        problem = f"{path} is not a program of torch.export ({error})"
        raise BiBenchError(unreadable(path, error) or problem) from error


def _has_pickle(data: Any) -> bool:
    if isinstance(data, dict):
        return data.get("use_pickle") is True or any(map(_has_pickle, data.values()))
    return isinstance(data, list) and any(map(_has_pickle, data))
