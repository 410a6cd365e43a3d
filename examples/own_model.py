"""A network of your own: train it in float and binarized, then give the checkpoints to bibench with --factory.

python own_model.py
bibench verify own_binary.onnx --against own_binary.pt --factory own_model.py:build --operator reactnet
"""

import torch
from torch import nn

import bibench


class Network(nn.Module):
    """Depthwise-separable blocks with squeeze-excite, as in MobileNetV3, for images of 3 × 64 × 64."""

    def __init__(self, width=32, classes=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.Hardtanh())
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.pointwise = nn.Sequential(nn.BatchNorm2d(width), nn.Hardtanh(), nn.Conv2d(width, 4 * width, 1))
        self.squeeze, self.excite = nn.Linear(4 * width, width), nn.Linear(width, 4 * width)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images):
        x = self.pointwise(self.depthwise(self.stem(images)))
        gate = self.excite(nn.functional.hardtanh(self.squeeze(x.mean((2, 3))))).sigmoid()
        return self.head((x * gate[..., None, None]).mean((2, 3)))


def build():
    """The factory: the network in float, and what it is called with."""
    return Network(), torch.zeros(2, 3, 64, 64)


def train(model, steps=4):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):  # on your data
        images, labels = torch.randn(8, 3, 64, 64), torch.randint(0, 4, (8,))
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


if __name__ == "__main__":
    torch.manual_seed(0)
    model, images = build()
    torch.save(train(model).state_dict(), "own_float.pt")
    bibench.binarize(model, "reactnet", example_inputs=images)  # warns: 1 bit makes three of the layers no faster
    torch.save({"state_dict": train(model).state_dict(), "steps": 4}, "own_binary.pt")
