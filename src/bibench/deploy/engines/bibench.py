"""BiBench's own engine: ONNX Runtime with the XNOR-popcount operators of the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bibench.deploy import onnx_file, session
from bibench.deploy.engine import Array, Calibration, Engine, LayerValues, engine
from bibench.deploy.graph import Canonical
from bibench.deploy.passes import stem
from bibench.foundation.errors import MissingLibraryError, require


@engine("bibench")
class BiBench(Engine):
    """Packed weights, 1-bit products, all eight operators; float layers but the first are ONNX Runtime's."""

    title = "BiBench (ONNX Runtime + XNOR-popcount)"

    def available(self) -> str:
        try:
            require("onnxruntime", extra="deploy", purpose="running models")
            session.register(session.session_options(1))
        except MissingLibraryError as error:
            return str(error)
        return ""

    def prepare(self, canonical: Canonical) -> None:
        if canonical.winograd:
            canonical.notes += [
                f"{name}: float convolution by Winograd filtering; export with winograd=False for an ordinary Conv"
                for name in stem.fold(canonical.model)
            ]

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        return onnx_file.serialize(canonical.model)

    def load(self, path: Path, threads: int = 1) -> Any:
        self.require()
        return session.ort_session(path, threads)

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        return onnx_file.run(loaded, inputs)

    def layer_values(self, path: Path, inputs: Sequence[Array]) -> dict[str, LayerValues] | None:
        def open_(content: bytes) -> Any:
            options = session.session_options(1)
            session.register(options)
            return session.open_session(content, options, str(path))

        return onnx_file.layer_values(path, inputs, open_)
