"""ONNX Runtime alone: standard operators in float32, binarized layers as ±1 convolutions. Runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bibench.deploy import onnx_file, session
from bibench.deploy.engine import Array, Calibration, Engine, LayerValues, engine
from bibench.deploy.graph import Canonical
from bibench.deploy.plain import lower
from bibench.foundation.errors import MissingLibraryError, require


@engine("onnxruntime")
class OnnxRuntime(Engine):
    """The full-precision baseline, and the oracle of the other engines."""

    title = "ONNX Runtime (float32)"
    packed = False

    def available(self) -> str:
        try:
            require("onnxruntime", extra="deploy", purpose="running models")
        except MissingLibraryError as error:
            return str(error)
        return ""

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        return onnx_file.serialize(lower(canonical.model))

    def load(self, path: Path, threads: int = 1) -> Any:
        self.require()
        return session.open_session(path.read_bytes(), session.session_options(threads), str(path))

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        return onnx_file.run(loaded, inputs)

    def layer_values(self, path: Path, inputs: Sequence[Array]) -> dict[str, LayerValues] | None:
        options = session.session_options(1)
        return onnx_file.layer_values(path, inputs, lambda content: session.open_session(content, options, str(path)))
