"""Start from a Hugging Face BERT checkpoint in a local folder, with asserted coverage of the encoder."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor, nn

from bibench.errors import CheckpointError, require
from bibench.files import load_checkpoint, unreadable
from bibench.state_dicts import fit, misfits, tell_choice
from bibench.typed_json import conform

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HEADS = ("classifier.", "cls.", "fit_dense", "qa_outputs.")
"""What checkpoints carry beside the encoder; a new classifier is trained, the others are of pretraining."""
CONFIG = {
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "ffn",
    "max_position_embeddings": "max_length",
    "vocab_size": "vocabulary",
}
"""Names in a checkpoint's config.json, and the options of our models they belong to."""
AGAIN = "fetch it again"


def checkpoint_folder(name: str, roots: tuple[Path | None, ...] = ()) -> Path:
    """The folder of a checkpoint: a path, a name under one of `roots`, or an installed package that carries one."""
    candidates = [Path(name).expanduser(), *(root / name for root in roots if root is not None)]
    for folder in candidates:
        if any((folder / file).is_file() for file in WEIGHTS):
            return folder
    if name.isidentifier() and (spec := importlib.util.find_spec(name)) is not None:
        for place in spec.submodule_search_locations or ():
            if any((Path(place) / "model" / file).is_file() for file in WEIGHTS):
                return Path(place) / "model"
    looked = ", ".join(str(c) for c in candidates)
    raise CheckpointError(
        f"pretrained={name!r}: no {' or '.join(WEIGHTS)} in {looked}, and no installed package of that name carries "
        "one; fetch the checkpoint there (huggingface.co), or drop the option to start from random weights"
    )


def load_pretrained(model: nn.Module, name: str) -> list[str]:
    """Load the encoder ``model.bert`` from the checkpoint `name`; returns the tensors that were not used.

    Every tensor of the encoder must be found, with its shape; heads of the checkpoint are left out, and
    any other tensor that finds no place is an error, because then it is not this architecture.
    """
    folder = checkpoint_folder(name)
    _check_config(folder, model)
    encoder = model.get_submodule("bert")
    own = encoder.state_dict()
    fitted = fit(_read(folder), own, translate=lambda raw: _encoder_state(raw)[0])
    if problem := misfits(own, fitted):
        raise CheckpointError(
            f"{folder} does not cover this encoder: {problem}. "
            f"Choose the model options of its config.json: {_options(folder)}"
        )
    tell_choice(fitted, str(folder))
    encoder.load_state_dict(fitted.state)
    unused = _encoder_state(fitted.raw)[1]
    if any(key.startswith("classifier.") for key in unused):
        warnings.warn(f"{folder}: its classifier was not loaded; a new one is trained", stacklevel=2)
    return unused


def _read(folder: Path) -> dict[str, Tensor]:
    file = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    if file.suffix != ".safetensors":
        return load_checkpoint(file)
    require("safetensors", extra="bench", purpose="reading a pretrained checkpoint")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with file.open("rb"):  # the library says of a file that may not be read that it does not exist
            return load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(unreadable(file, error) or f"{file} is damaged ({error}); fetch it again") from error


def _encoder_state(raw: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The encoder's tensors under our names, and the names of the others."""
    state, unused = {}, []
    prefix = "bert." if any(key.startswith("bert.") for key in raw) else ""
    for key, value in raw.items():
        name = key.removeprefix(prefix)
        if name.startswith(HEADS) or name.endswith("embeddings.position_ids"):  # a buffer of old versions
            unused.append(key)
            continue
        # Checkpoints converted from TensorFlow call the two parameters of a layer norm gamma and beta.
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        state[name] = value
    return state, unused


class _Config(TypedDict, total=False):
    """A checkpoint's config.json, as far as it is read."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    vocab_size: int
    hidden_act: str
    position_embedding_type: str


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(unreadable(file, error) or f"{file} is damaged ({error}); {AGAIN}") from error
    return dict(conform(found, _Config, str(file), AGAIN, CheckpointError))


def _options(folder: Path) -> str:
    config = _config(folder)
    return ",".join(f"{ours}={config[theirs]}" for theirs, ours in CONFIG.items() if theirs in config) or "unknown"


def _check_config(folder: Path, model: nn.Module) -> None:
    """Refuse what shapes cannot show: another number of heads, activation or kind of position embedding."""
    config = _config(folder)
    expected = {
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "num_attention_heads": model.get_submodule("bert.encoder.layer.0.attention.self").heads,
    }
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise CheckpointError(
                f"{folder}/config.json has {name}={config[name]!r}, this model {value!r}; "
                f"choose the model options of the checkpoint: {_options(folder)}"
            )
