"""What all text tasks share: WordPiece tokens, cross entropy or squared error, accuracy and correlations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.data.batches import Batch, Batches
from bibench.data.text import (
    BERT_FOLDER,
    Encoded,
    Example,
    TokenBatches,
    digest_of,
    encode,
    published_tokenizer,
    trained_tokenizer,
)
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.models import create
from bibench.models.pretrained import checkpoint_folder
from bibench.recipes.distillation import soft_cross_entropy
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import Evaluation, Task


class TextClassification(Task):
    """Single sentences or pairs with a class, or (`num_classes` 0) a number to regress.

    Class attributes:
        num_classes: of the labels; 0 for regression by squared error.
        max_length: tokens of an example; longer ones are cut, and counted in a warning.
        vocabulary: entries of the tokenizer, at most.
    """

    modality = "text"
    num_classes: ClassVar[int] = 2
    max_length: ClassVar[int] = 128
    vocabulary: ClassVar[int] = 30522

    # -- data --------------------------------------------------------------------------------------

    def examples(self, split: str) -> list[Example]:
        """All examples of a split."""
        raise NotImplementedError

    @cached_property
    def _examples(self) -> dict[str, list[Example]]:
        found = {split: self.examples(split) for split in self.splits()}
        if empty := [split for split, examples in found.items() if not examples]:
            raise DataError(f"task {self.name!r}: the {empty[0]} split has no examples; expected at least one")
        return found

    @cached_property
    def tokenizer(self) -> Any:
        """BERT's own vocabulary where the data root has it, else one trained on the training sentences."""
        if (folder := self._published_vocabulary()) is not None:
            tokenizer = published_tokenizer(folder)
            entries = 1 + max(tokenizer.get_vocab().values())  # of equal entries only the last has its id
            if entries > self.vocabulary:
                raise DataError(
                    f"{folder}: the vocabulary has {entries} entries, models of task {self.name!r} "
                    f"have {self.vocabulary}; use that of bert-base-uncased"
                )
            return tokenizer
        sentences = [text for e in self._examples["train"] for text in (e.first, e.second) if text is not None]
        return trained_tokenizer(sentences, self.vocabulary)

    def _published_vocabulary(self) -> Path | None:
        if self.embedded or self.data_root is None:
            return None
        folder = self.data_root / BERT_FOLDER
        return folder if any((folder / name).is_file() for name in ("vocab.txt", "tokenizer.json")) else None

    @cached_property
    def _encoded(self) -> dict[str, Encoded]:
        dtype = torch.int64 if self.num_classes else torch.float32
        made = {s: encode(self.tokenizer, found, self.max_length, dtype) for s, found in self._examples.items()}
        for split, data in made.items():
            if data.truncated:
                warnings.warn(
                    f"task {self.name!r}: {data.truncated} of {len(data)} examples of the {split} split were cut to "
                    f"{self.max_length} tokens",
                    stacklevel=2,
                )
        return made

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        return TokenBatches(self._encoded[split], batch_size=batch_size, seed=seed)

    def checksum(self) -> str:
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return sha256(*(digest_of(found).encode() for found in self._examples.values()), repr(vocabulary).encode())

    # -- models ------------------------------------------------------------------------------------

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": max(1, self.num_classes), "input_shape": (self.max_length,)}

    def model(self, name: str, options: dict[str, Any]) -> nn.Module:
        given = {"vocabulary": self.vocabulary, **options}
        if pretrained := options.get("pretrained"):
            if self._published_vocabulary() is None and not torch.empty(0).is_meta:  # a plan looks at no files
                raise DataError(
                    f"pretrained={pretrained!r} needs the vocabulary it was trained with: put vocab.txt of "
                    f"bert-base-uncased into the folder {BERT_FOLDER} of the data root"
                )
            if not torch.empty(0).is_meta:
                given["pretrained"] = str(checkpoint_folder(pretrained, (self.data_root,)))
        return create(name, **self.model_arguments(), **given)

    def example_inputs(self) -> tuple[Tensor, ...]:
        ids = torch.ones(2, self.max_length, dtype=torch.int64)
        return ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids)

    # -- training and judging ----------------------------------------------------------------------

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of logits (B, classes), or the squared error of answers (B, 1); a scalar.

        `torch.nn.functional.cross_entropy` and `torch.nn.functional.mse_loss`.
        """
        if self.num_classes:
            return F.cross_entropy(outputs, batch.targets)
        return F.mse_loss(outputs.squeeze(-1), batch.targets)

    def distillation_loss(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """Soft cross entropy, or the squared error of regressions, which the official release lacks; a scalar.

        See `Task.distillation_loss`; `torch.nn.functional.mse_loss` is BiBench's own choice there.
        """
        return soft_cross_entropy(outputs, taught) if self.num_classes else F.mse_loss(outputs, taught)

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Accuracy (Eq. 33), Matthews' correlation (Eq. 38) and F1; of regressions Pearson and Spearman (Eq. 39)."""
        outputs, targets = [], []
        for batch in batches.epoch(0):
            outputs.append(model(*(x.to(device) for x in batch.inputs)).detach().float())
            targets.append(batch.targets.to(device))
        answered, expected = torch.cat(outputs), torch.cat(targets)
        loss = float(self.loss(answered, Batch((), expected)))
        answers = answered.argmax(1) if self.num_classes else answered.squeeze(1)
        judge = classification_metrics if self.num_classes else regression_metrics
        # Regressions rarely give one number twice, unless they have collapsed to it.
        _, counts = torch.unique(answers if self.num_classes else answers.mul(1000).round(), return_counts=True)
        return Evaluation(
            metrics={**judge(answers, expected, self.num_classes), "loss": loss},
            examples=len(expected),
            commonest_answer=float(counts.max()) / len(expected),
        )


def classification_metrics(answers: Tensor, targets: Tensor, num_classes: int) -> dict[str, float]:
    """Accuracy (Eq. 33) and Matthews' correlation coefficient (Eq. 38); F1 of class 1 where there are two."""
    from torchmetrics.functional.classification import (
        binary_f1_score,
        multiclass_accuracy,
        multiclass_matthews_corrcoef,
    )

    accuracy = multiclass_accuracy(answers, targets, num_classes, average="micro")
    # Without variance there is no correlation; torchmetrics then answers something above 0 for small sets.
    constant = bool((answers == answers[0]).all() or (targets == targets[0]).all())
    matthews = 0.0 if constant else multiclass_matthews_corrcoef(answers, targets, num_classes)
    metrics = {"accuracy": accuracy, "matthews": matthews}
    if num_classes == 2:
        metrics["f1"] = binary_f1_score(answers, targets)
    return {name: round(float(value), 7) for name, value in metrics.items()}


def regression_metrics(answers: Tensor, targets: Tensor, num_classes: int = 0) -> dict[str, float]:
    """Pearson and Spearman correlation (Eq. 39); 0 where all answers are the same, which have none."""
    from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef

    if torch.equal(answers, answers[:1].expand_as(answers)):
        return {"pearson": 0.0, "spearman": 0.0}
    # In float64: the rounding of float32 makes ties, and a variance near 0 there is no variance.
    pair = answers.double(), targets.double()
    return {
        "pearson": _bounded(pearson_corrcoef, *pair),
        "spearman": _bounded(spearman_corrcoef, *pair),
    }


def _bounded(correlation: Callable[[Tensor, Tensor], Tensor], answers: Tensor, targets: Tensor) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The variance of predictions or target")
        value = float(correlation(answers, targets))
    return round(min(1.0, max(-1.0, value)), 7) if value == value else 0.0


def embedded_recipes(lr: float, epochs: int, batch_size: int = 32, quick_epochs: int = 3) -> dict[str, Recipe]:
    """Recipes of the embedded text tasks: trained from random weights, taught by full precision."""
    base: dict[str, Any] = {
        "batch_size": batch_size,
        "optimizer": "adamw",
        "lr": lr,
        "weight_decay": 0.01,
        "schedule": "linear",
        "warmup": 0.1,
        "clip_grad_norm": 1.0,
        "distillation": "logits",
    }
    return {
        "paper": Recipe(epochs=epochs, **base),
        "quick": Recipe(epochs=quick_epochs, **base),
        "smoke": Recipe(epochs=1, **base),
    }
