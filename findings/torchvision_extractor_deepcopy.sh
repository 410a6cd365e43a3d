#!/usr/bin/env bash
# torchvision 0.29.1 (torch 2.14.1): a deep copy of a feature extractor of a model in eval() normalizes by the batch.
#
# guess: copy.deepcopy(extractor) computes what the extractor computes: its modules keep their modes.
# seen:  extractor.training and copied.training tell False and True, 0 and all of the 68 modules are in training mode
#        (20 of them BatchNorm2d), one image raises "Expected more than 1 value per channel when training", a batch
#        of 2 gives other features, and that call moves the running statistics of the copy. Nothing warns.
#        copied.eval() behind the copy gives the features bit for bit.
#
# Who copies a model before converting or counting it (to keep the user's own untouched) changes what it computes.
# Exits 0 while this holds, non-zero when it changes.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/env"
"$room/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1
cd "$room"
"$room/env/bin/python" - <<'PYTHON'
import copy

import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


torch.manual_seed(0)
extractor = create_feature_extractor(resnet18().eval(), ["layer2", "fc"])
copied = copy.deepcopy(extractor)
x = torch.randn(2, 3, 32, 32)

modes = [(model.training, sum(m.training for m in model.modules())) for model in (extractor, copied)]
print("training, modules in training mode:", modes, "norms:", sum(m.training for m in norms(copied)))
assert modes[0] == (False, 0), modes
assert modes[1][0] and modes[1][1] == len(list(copied.modules())), modes
assert norms(copied) and all(m.training for m in norms(copied))

try:
    copied(x[:1])
    raise SystemExit("one image no longer raises")
except ValueError as error:
    print("one image:", error)
    assert "more than 1 value per channel" in str(error)

before = copy.deepcopy(copied.state_dict())
with torch.no_grad():
    right, wrong = extractor(x)["layer2"], copied(x)["layer2"]
moved = [name for name, value in copied.state_dict().items() if not torch.equal(value, before[name])]
print(f"two images: features differ by up to {(right - wrong).abs().max():.3g}; {len(moved)} buffers moved")
assert (right - wrong).abs().max() > 0.1 and any("running_mean" in name for name in moved)

mended = copy.deepcopy(extractor).eval()
with torch.no_grad():
    assert torch.equal(mended(x)["layer2"], right)
print("eval() behind the copy: equal")
PYTHON
