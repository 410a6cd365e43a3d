#!/usr/bin/env bash
# onnxruntime 1.32.0 (onnx 1.23.2): Cast from float to INT4, UINT4, INT2 and UINT2 rounds; to INT8 it truncates.
#
# guess: Cast from float to any integer type drops the fraction, as to int8: 0.5, 0.9 and 1.7 become 0, 0 and 1, and the
#        same file gives the same values in every runtime.
# seen:  CPU, optimizations off: to INT8 [0, 0, 1], to INT4, UINT4 and UINT2 [1, 1, 2], to INT2 [1, 1, -2]: 1.7 is
#        rounded to 2, which INT2 (-2 to 1) does not have, and comes out with the other sign. onnx's own reference
#        evaluator gives 0, 0, 1 for all five types.
#
# Who packs low-bit weights or activations with a Cast must round and clip before it (or use QuantizeLinear, which
# saturates), and cannot rely on truncation to a sign or a level.
# Exits 0 while this holds, non-zero when it changes.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/env"
"$room/env/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 ml_dtypes==0.6.0
cd "$room"
"$room/env/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.array([0.5, 0.9, 1.7], np.float32)
seen = {}
for name in ("INT8", "INT4", "UINT4", "INT2", "UINT2"):
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=getattr(TensorProto, name)),
        helper.make_node("Cast", ["narrow"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [3]) for end in "xy"]
    graph = helper.make_graph(nodes, "cast", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ran = session.run(None, {"x": x})[0].tolist()
    meant = ReferenceEvaluator(model).run(None, {"x": x})[0].tolist()
    print(f"{name}: onnxruntime {ran}, onnx's reference {meant}")
    assert meant == [0, 0, 1], (name, meant)
    seen[name] = ran
assert seen == {"INT8": [0, 0, 1], "INT4": [1, 1, 2], "UINT4": [1, 1, 2], "INT2": [1, 1, -2], "UINT2": [1, 1, 2]}, seen
PYTHON
