"""FSMN (Zhang et al., 2015) and Deep-FSMN (Zhang et al., ICASSP 2018): memory blocks over time, for keyword spotting.

https://arxiv.org/abs/1512.08301 and https://arxiv.org/abs/1803.05030. Inputs are spectrograms
(B, C, F, T) of C channels (1, or 3 with deltas), F frequency bands and T frames; sizes as in the
networks that the paper takes over from BiFSMN (Qin et al., IJCAI 2022) and BiFSMNv2. A memory block is
a depthwise convolution over time (a tapped delay line per feature) and stays depthwise when binarized.
"""

from __future__ import annotations

from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError
from bibench.models.base import model

FSMN_PAPER = "Zhang et al., Feedforward Sequential Memory Networks, 2015 (arXiv:1512.08301)"
DEEP_FSMN_PAPER = "Zhang et al., Deep-FSMN for Large Vocabulary Speech Recognition, ICASSP 2018 (arXiv:1803.05030)"


def spectrogram_shape(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, F, T) of a spectrogram; a `BiBenchError` for anything else."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise BiBenchError(
            f"model {name!r} takes spectrograms: input_shape must be (channels, frequency bands, frames), "
            f"got {input_shape}"
        )
    channels, bands, frames = input_shape
    return channels, bands, frames


class FSMNBlock(nn.Module):
    """PReLU(current(x) + history(memory(x))), (B, T, I) → (B, T, O); no norm and no skip."""

    def __init__(self, in_features: int, features: int, memory: int, context: int) -> None:
        super().__init__()
        self.current = nn.Linear(in_features, features)
        self.memory = nn.Conv1d(
            in_features, memory, 2 * context + 1, padding=context, groups=in_features, bias=False
        )  # memory / in_features filters for each feature
        self.history = nn.Linear(memory, features, bias=False)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        remembered = self.memory(x.transpose(1, 2)).transpose(1, 2)
        return self.act(self.current(x) + self.history(remembered))


class FSMN(nn.Module):
    """Blocks of `FSMNBlock`, all frames flattened, classifier. The first block sees the real-valued input: FP32."""

    def __init__(
        self, *, num_classes: int, input_shape: tuple[int, ...], width: int, num_blocks: int, context: int
    ) -> None:
        super().__init__()
        channels, bands, frames = spectrogram_shape("fsmn", input_shape)
        features, memory = channels * bands, 2 * width
        blocks = []
        for _ in range(num_blocks):
            per_feature = -(-memory // features)  # as many filters for each feature as give at least `memory`
            blocks.append(FSMNBlock(features, width, per_feature * features, context))
            features = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(width * frames, num_classes)
        self.full_precision_layers = {"blocks.0.*": "first block"}

    def forward(self, x: Tensor) -> Tensor:
        frames = x.flatten(1, 2).transpose(1, 2)  # (B, T, C·F)
        return self.fc(self.blocks(frames).flatten(1))


class DeepFSMNLayer(nn.Module):
    """Memory block and two pointwise convolutions, each norm-act, both with a skip: (B, N, T) → (B, N, T)."""

    def __init__(self, features: int, hidden: int, context: int, dropout: float) -> None:
        super().__init__()
        self.memory = nn.Sequential(
            nn.Conv1d(features, features, 2 * context + 1, padding=context, groups=features),
            nn.BatchNorm1d(features),
            nn.PReLU(),
        )
        self.transform = nn.Sequential(
            nn.Conv1d(features, hidden, 1),
            nn.BatchNorm1d(hidden),
            nn.PReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(hidden, features, 1),
            nn.BatchNorm1d(features),
            nn.PReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.memory(x)
        return x + self.transform(x)


class DeepFSMN(nn.Module):
    """Two strided convolutions, a projection of each frame (FP32), `DeepFSMNLayer`s, classifier of all frames."""

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, ...],
        width: int,
        num_layers: int,
        context: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, bands, frames = spectrogram_shape("deep_fsmn", input_shape)
        front = max(1, width // 8)
        self.front = nn.Sequential(
            nn.Conv2d(channels, front, 5, stride=2, padding=2),
            nn.BatchNorm2d(front),
            nn.PReLU(),
            nn.Conv2d(front, 2 * front, 5, stride=2, padding=2),
            nn.BatchNorm2d(2 * front),
            nn.PReLU(),
        )
        bands, frames = _halved_twice(bands), _halved_twice(frames)
        self.project = nn.Linear(2 * front * bands, width)
        self.act = nn.PReLU()
        self.layers = nn.Sequential(*(DeepFSMNLayer(width, 2 * width, context, dropout) for _ in range(num_layers)))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width * frames, num_classes)
        self.full_precision_layers = {"project": "projection of the frames"}

    def forward(self, x: Tensor) -> Tensor:
        frames = self.front(x).flatten(1, 2).transpose(1, 2)  # (B, T/4, channels · F/4)
        x = self.act(self.project(frames)).transpose(1, 2)  # (B, N, T/4)
        return self.fc(self.dropout(self.layers(x).flatten(1)))


def _halved_twice(size: int) -> int:
    for _ in range(2):  # 5 taps, stride 2, padding 2
        size = (size - 1) // 2 + 1
    return size


@model("fsmn", family="mlp", paper=FSMN_PAPER)
def fsmn(
    *, num_classes: int, input_shape: tuple[int, ...], width: int = 128, num_blocks: int = 8, context: int = 3
) -> FSMN:
    """FSMN: `num_blocks` of `width` features and 2 · `width` memory taps over `context` frames to each side."""
    _at_least("fsmn", 1, width=width, num_blocks=num_blocks)
    _at_least("fsmn", 0, context=context)
    return FSMN(num_classes=num_classes, input_shape=input_shape, width=width, num_blocks=num_blocks, context=context)


@model("deep_fsmn", family="mlp", paper=DEEP_FSMN_PAPER)
def deep_fsmn(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 128,
    num_layers: int = 8,
    context: int = 2,
    dropout: float = 0.2,
) -> DeepFSMN:
    """Deep-FSMN: `num_layers` of `width` features, memory over `context` frames to each side."""
    _at_least("deep_fsmn", 1, width=width, num_layers=num_layers)
    _at_least("deep_fsmn", 0, context=context)
    return DeepFSMN(
        num_classes=num_classes,
        input_shape=input_shape,
        width=width,
        num_layers=num_layers,
        context=context,
        dropout=dropout,
    )


def _at_least(name: str, least: int, **sizes: int) -> None:
    for option, value in sizes.items():
        if not isinstance(value, int) or value < least:
            raise BiBenchError(f"model {name!r}: {option} must be an integer, at least {least}; got {value!r}")
