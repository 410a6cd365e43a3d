"""ONNX Runtime sessions with the operators of `bibench._core`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bibench.deploy import manifest
from bibench.foundation.errors import BiBenchError, MissingLibraryError, require
from bibench.kernels import absence

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped, unused-ignore]


MOST_THREADS = 1024
"""Of a session, which starts all of them at once: more than any processor has are a mistake."""


def ort_session(path: str | Path, threads: int | None = None, options: Any = None) -> onnxruntime.InferenceSession:
    """An ordinary `onnxruntime.InferenceSession` that knows the domain `bibench`.

    Args:
        path: an ONNX model. If a manifest lies beside it, its checksum is verified.
        threads: of ONNX Runtime's pool, which the 1-bit operators use too; 1, or as many as `options` say.
        options: an `onnxruntime.SessionOptions` to use instead of BiBench's own; it gets the 1-bit operators.

    Raises:
        MissingLibraryError: ONNX Runtime or the compiled core is missing.
        StoreError: the file is not the one its manifest describes.
        BiBenchError: ONNX Runtime does not load the file.
    """
    path = Path(path)
    manifest.read(path)
    require("onnxruntime", extra="deploy", purpose="running models")
    if options is None:
        options = session_options(1 if threads is None else threads)
    elif threads is not None:
        options.intra_op_num_threads = _checked(threads)
    register(options)
    return open_session(path.read_bytes(), options, str(path))


def session_options(threads: int) -> Any:
    """Options of a session with so many threads, which logs errors alone.

    Threads that wait sleep: spinning wins little on an idle machine and loses several times the latency on a busy one.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _checked(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _checked(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise BiBenchError(f"threads must be an integer from 1 to {MOST_THREADS}; got {threads!r}")
    return threads


def open_session(content: bytes, options: Any, source: str) -> onnxruntime.InferenceSession:
    """A session on the processor; a `BiBenchError` with ONNX Runtime's reason when it refuses the model."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )  # there is no other provider to try, which would print
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BiBenchError(f"ONNX Runtime does not load {source}: {first_line(error)}") from error


def library() -> str:
    """Path of the library that ONNX Runtime registers in Python; programs in C and C++ build `bibench_ort` instead.

    Raises:
        BiBenchError: it is not there, as in an installation without the compiled core.
    """
    try:
        path = importlib.import_module("bibench._core").__file__
    except ImportError as error:
        raise MissingLibraryError(
            f"the 1-bit operators need BiBench's compiled core, which is not there. Why: {absence.reason()}"
        ) from error
    assert path is not None
    return path


def register(options: Any) -> None:
    """Make the operators of the compiled core known to `options`."""
    path = library()
    try:
        options.register_custom_ops_library(path)
    except Exception as error:
        raise MissingLibraryError(
            f"{path} does not offer its operators to ONNX Runtime ({first_line(error)}); install a newer bibench"
        ) from error


def first_line(error: BaseException) -> str:
    """What an exception of ONNX Runtime says, as far as it helps."""
    return str(error).strip().splitlines()[0][:400]
