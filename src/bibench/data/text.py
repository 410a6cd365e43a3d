"""Sentences: what an example is, WordPiece tokenizers, and padded batches of token ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from bibench.data.batches import Batch, Order, _digest
from bibench.data.location import cached_folder
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError, require
from bibench.foundation.files import unreadable
from bibench.foundation.lines import read_lines

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET = 1000
"""Characters that a trained vocabulary knows, at most; others become [UNK]."""
BERT_FOLDER = "bert-base-uncased"
"""Under the data root: the folder of the published vocabulary, ``vocab.txt`` or ``tokenizer.json``."""


class Example(NamedTuple):
    """One sentence, or a pair, and its label: a class index, or a number to regress."""

    first: str
    second: str | None
    label: float


def digest_of(examples: Sequence[Example]) -> str:
    """SHA-256 over texts and labels."""
    return sha256("\n".join(f"{e.first}\t{e.second or ''}\t{e.label}" for e in examples).encode())


# -- tokenizers ------------------------------------------------------------------------------------


def published_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`: ``tokenizer.json``, or ``vocab.txt`` of an uncased BERT."""
    tokenizers = _tokenizers()
    file, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    try:
        if file.is_file():
            return tokenizers.Tokenizer.from_file(str(file))
        # As BERT reads it: the number of a line is the entry's id, blank lines and the last of equal ones included.
        return _wordpiece({word: number for number, word in enumerate(read_lines(vocabulary))})
    except Exception as error:  # the library raises bare exceptions
        read = file if file.is_file() else vocabulary
        raise DataError(unreadable(read, error) or f"{read} is damaged ({error}); fetch it again") from error


def trained_tokenizer(texts: Sequence[str], size: int) -> Tokenizer:
    """A WordPiece tokenizer of at most `size` entries trained on `texts`; kept in the cache, the same every time."""
    tokenizers = _tokenizers()
    key = hashlib.sha256(f"{size}\n".encode())
    for text in texts:
        key.update(text.encode() + b"\n")

    def build(folder: Path) -> None:
        tokenizer = _wordpiece(None)
        alphabet = _alphabet(texts, tokenizer.normalizer)
        # The library numbers the pieces in the order of a hash table, and its choices between equally
        # frequent merges depend on these numbers; given as special tokens, they have the same ones always.
        pieces = [*alphabet, *(f"##{character}" for character in alphabet)]
        trainer = tokenizers.trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=[*SPECIAL, *pieces],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.save(str(folder / "tokenizer.json"))

    folder = cached_folder(f"wordpiece-{key.hexdigest()[:16]}", build)
    try:
        return _wordpiece(tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab())
    except Exception as error:
        problem = f"{folder} is damaged ({error}); delete it to have it made again"
        raise DataError(unreadable(folder / "tokenizer.json", error) or problem) from error


def _alphabet(texts: Sequence[str], normalizer: Any) -> list[str]:
    """The commonest characters of the texts, at most `ALPHABET`, in a fixed order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    return sorted(sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))[:ALPHABET])


def _tokenizers() -> Any:
    require("tokenizers", extra="bench", purpose="reading text")
    import tokenizers

    return tokenizers


def _wordpiece(vocabulary: dict[str, int] | None) -> Tokenizer:
    """An uncased BERT tokenizer: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    tokenizers = _tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    if vocabulary is not None:
        absent = [word for word in SPECIAL[:4] if word not in vocabulary]
        if absent:
            raise ValueError(f"no entry {', '.join(absent)}")
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
        )
    return tokenizer


# -- encoded examples ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """Token ids (N, T) int32, padded with 0; tokens of each example and of its first part, (N,); labels (N,).

    `truncated` counts the examples that were cut to T tokens.
    """

    ids: Tensor
    lengths: Tensor
    firsts: Tensor
    labels: Tensor
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.labels)


def encode(tokenizer: Tokenizer, examples: Sequence[Example], max_length: int, dtype: torch.dtype) -> Encoded:
    """Tokenize, the longer sentence cut first where both exceed `max_length`; labels become `dtype`."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    pairs = [e.first if e.second is None else (e.first, e.second) for e in examples]
    encodings = tokenizer.encode_batch(pairs)
    longest = max((len(e.ids) for e in encodings), default=1)
    ids = torch.zeros(len(encodings), longest, dtype=torch.int32)
    for row, encoding in zip(ids, encodings, strict=True):
        row[: len(encoding.ids)] = torch.tensor(encoding.ids, dtype=torch.int32)
    return Encoded(
        ids,
        torch.tensor([len(e.ids) for e in encodings], dtype=torch.int64),
        torch.tensor([e.type_ids.count(0) for e in encodings], dtype=torch.int64),
        torch.tensor([e.label for e in examples], dtype=dtype),
        truncated=sum(bool(e.overflowing) for e in encodings),
    )


class TokenBatches:
    """Batches of (ids, mask, types) and labels, each padded to its own longest example.

    Padding never changes what a model answers, so a batch need not be as wide as the data set.
    """

    def __init__(self, data: Encoded, *, batch_size: int, seed: int | None) -> None:
        self.examples = len(data)
        self._data = data
        self._order = Order(len(data), batch_size, seed)

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        indices, size = self._order.indices(epoch), self._order.batch_size
        for step in range(start, len(self)):
            yield self._batch(indices[step * size : (step + 1) * size])

    def _batch(self, chosen: Tensor) -> Batch:
        data = self._data
        lengths = data.lengths[chosen]
        width = int(lengths.max())
        position = torch.arange(width)
        mask = position < lengths[:, None]
        types = (mask & (position >= data.firsts[chosen][:, None])).long()
        return Batch((data.ids[chosen, :width].long(), mask, types), data.labels[chosen])

    def digest(self, epoch: int) -> bytes:
        return _digest(self._order.digest(epoch), next(self.epoch(epoch)))
