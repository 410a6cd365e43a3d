"""What is measured: model files as they are, and cells and checkpoints after they were exported into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bibench.deploy.contenders import Contender, contenders
from bibench.deploy.engine import ENGINES
from bibench.deploy.exporting import export
from bibench.deploy.factory import OPTION
from bibench.deploy.identity import DEFAULT_ENGINES, identify
from bibench.deploy.source import Named, calibration, trained
from bibench.foundation.errors import BiBenchError
from bibench.operators import FULL_PRECISION

BASELINE = "onnxruntime"
"""Exports full precision, for every engine that reads ONNX files."""


def is_source(path: Path) -> bool:
    """Whether `path` is of a trained model, and no model file: a cell's folder, or a file with weights."""
    files = {*DEFAULT_ENGINES, *(ENGINES[name].extension for name in ENGINES)}
    return path.is_dir() or (path.is_file() and path.suffix not in files)


def measurable(
    models: Sequence[Path],
    baseline: Path | None,
    engines: Sequence[str],
    named: Named,
    folder: Path,
    data_root: Path | None = None,
) -> list[Contender]:
    """The contenders of `models` and `baseline`, which may be trained models: these are exported into `folder`.

    Args:
        models: model files, or what `bibench.deploy.source.trained` takes.
        engines: a trained model is exported for each, by default for ``bibench``; model files run in each.
        named: what checkpoints are of that do not say so. The baseline is of the same without an operator.
    """
    sources = [path for path in models if is_source(path)]
    if engines and sources and len(sources) < len(models):
        raise BiBenchError(
            f"--engines: {sources[0]} is exported for each of them, model files cannot be; measure one kind at a time"
        )
    files: list[Path] = []
    for number, path in enumerate(models):
        if path in sources:
            wanted = engines or [default_engine()]
            files += [_exported(path, named, engine, folder / f"{number}-{engine}", data_root) for engine in wanted]
        else:
            files.append(path)
    if baseline is not None and is_source(baseline):
        full = replace(named, operator=None)
        exported = _exported(baseline, full, BASELINE, folder / "baseline", data_root)
        if (operator := identify(exported)[0]["operator"]) != FULL_PRECISION:
            raise BiBenchError(
                f"--baseline {baseline} is binarized ({operator}); give a cell or checkpoint of full precision"
                + (f" ({OPTION} of a float network and --operator serve both)" if named.factory else "")
            )
        baseline = exported
    return contenders(files, baseline, [] if sources else engines)


def default_engine() -> str:
    """That of packed bits, where its operators are."""
    return BASELINE if ENGINES["bibench"]().available() else "bibench"


def _exported(source: Path, named: Named, engine: str, folder: Path, data_root: Path | None) -> Path:
    runner = ENGINES[engine]()
    found = trained(source, named, data_root)
    folder.mkdir(parents=True)
    data = calibration(found) if runner.needs_calibration else None
    path = folder / f"{source.stem}{runner.extension}"
    export(found.model, path, found.example_inputs, engine, calibration=data, provenance=found.provenance)
    return path
