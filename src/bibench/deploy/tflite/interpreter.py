"""Larq Compute Engine's interpreter, in a Python of its own."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bibench.deploy.engine import Array
from bibench.deploy.tflite.lce_process import receive, send
from bibench.foundation.errors import BiBenchError, MissingLibraryError

VARIABLE = "BIBENCH_LARQ_PYTHON"
"""Environment variable: the Python that has Larq Compute Engine."""
INSTALL = (
    "Larq Compute Engine needs NumPy below 2, so give it an environment of its own: python3.11 -m venv lce && "
    f"lce/bin/pip install 'numpy<2' larq-compute-engine==0.16.0 && export {VARIABLE}=$PWD/lce/bin/python"
)
SECONDS = 600.0
"""A model that does not answer for so long is stopped."""

Kernel = Literal["optimized", "indirect", "reference"]
KERNELS: dict[str, dict[str, bool]] = {
    "optimized": {},
    "indirect": {"use_indirect_bgemm": True},
    "reference": {"use_reference_bconv": True},
}
"""Kernels of the 1-bit convolution and the interpreter's option for each."""

_PROGRAM = Path(__file__).with_name("lce_process.py")


def python() -> str:
    """The Python that has Larq Compute Engine; "" if none is known."""
    if named := os.environ.get(VARIABLE):
        return named
    try:
        importlib.metadata.version("larq-compute-engine")
    except importlib.metadata.PackageNotFoundError:
        return ""
    return sys.executable if np.lib.NumpyVersion(np.__version__) < "2.0.0" else ""


def missing() -> str:
    """Why the interpreter cannot be run, with what to do; "" if it can."""
    named = python()
    return _problem(named) if named else f"{VARIABLE} is not set. {INSTALL}"


@cache
def _problem(named: str) -> str:
    try:
        done = subprocess.run([named, "-I", str(_PROGRAM), "--check"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{VARIABLE}={named} cannot be run ({error}). {INSTALL}"
    if done.returncode:
        return f"{named} has no working Larq Compute Engine ({_tail(done.stderr)}). {INSTALL}"
    return ""


class Interpreter:
    """A model in Larq Compute Engine. Inputs and outputs are arrays in the layout of the file.

    Args:
        content: of a `.tflite` file, which `file.read` has validated.
        threads: of the interpreter.
        kernel: of the 1-bit convolution. On x86 "indirect" is the fastest (and has one thread).
        xnnpack: whether XNNPACK computes what is not 1-bit.
    """

    def __init__(self, content: bytes, threads: int = 1, kernel: Kernel = "optimized", xnnpack: bool = True) -> None:
        if kernel not in KERNELS:
            raise BiBenchError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
        if reason := missing():
            raise MissingLibraryError(reason)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            [python(), "-I", str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        options = {"num_threads": threads, "use_xnnpack": xnnpack, **KERNELS[kernel]}
        self._ask([np.frombuffer(content, np.uint8)], options)

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Outputs for examples along the first axis."""
        return self._ask(inputs, {})

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __del__(self) -> None:
        if hasattr(self, "_process") and not self._log.closed:
            self.close()

    def _ask(self, arrays: Sequence[Array], facts: dict[str, Any]) -> list[Array]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        clock = threading.Timer(SECONDS, self._process.kill)
        clock.start()
        try:
            send(self._process.stdin, arrays, **facts)
            answer, outputs = receive(self._process.stdout)
            if answer is None:
                raise EOFError("no answer")
        except (OSError, ValueError, EOFError) as error:
            self._process.kill()
            self._process.wait()
            self._log.seek(0)
            said = _tail(self._log.read()) or f"it ended with {self._process.returncode}"
            raise BiBenchError(f"Larq Compute Engine does not run the model: {said}") from error
        finally:
            clock.cancel()
        if problem := answer.get("problem"):
            raise BiBenchError(f"Larq Compute Engine: {problem}")
        return outputs


def _tail(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "ERROR" in line] or lines[-1:]
    return "; ".join(told)[-500:]
