#!/usr/bin/env bash
# torchmetrics 1.9.0 (pycocotools 2.0.11, faster-coco-eval 1.8.0): where the largest of max_detection_thresholds is not
# 100, MeanAveragePrecision tells -1 as `map` of perfect detections, with its default backend only.
#
# guess: max_detection_thresholds=[1, 10, 50] counts the 50 best detections of an image; detections that equal the
#        truth have map 1, map_50 1 and map_75 1, whichever backend computes.
# seen:  backend "pycocotools" (the default): map -1, map_50 1, map_75 1, mar_50 1, no warning; -1 is also the value
#        that means "no such objects". Backend "faster_coco_eval": map 1. With [1, 10, 100] both tell 1.
#
# Who limits the detections of a small model selects the best epoch by a constant.
# Exits 0 while this holds, non-zero when it changes.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/env"
"$room/env/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 torchmetrics==1.9.0 pycocotools==2.0.11 \
  faster-coco-eval==1.8.0
cd "$room"
"$room/env/bin/python" - <<'PYTHON'
import torch
from torchmetrics.detection import MeanAveragePrecision

boxes, labels = torch.tensor([[0.0, 0, 10, 10], [20, 0, 40, 30]]), torch.tensor([1, 2])
found = [{"boxes": boxes, "scores": torch.tensor([0.9, 0.8]), "labels": labels}]
seen = {}
for backend in ("pycocotools", "faster_coco_eval"):
    for most in (50, 100):
        metric = MeanAveragePrecision(max_detection_thresholds=[1, 10, most], backend=backend)
        metric.update(found, [{"boxes": boxes, "labels": labels}])
        result = metric.compute()
        seen[backend, most] = [round(float(result[name]), 6) for name in ("map", "map_50", "map_75", f"mar_{most}")]
        print(backend, most, "map, map_50, map_75, mar:", seen[backend, most])
assert seen.pop(("pycocotools", 50)) == [-1, 1, 1, 1]
assert all(values == [1, 1, 1, 1] for values in seen.values()), seen
PYTHON
