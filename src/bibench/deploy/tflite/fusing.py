"""Activations become part of the operator before them, which saves a pass over the map. Exact."""

from __future__ import annotations

from collections import Counter

from bibench.deploy.tflite.graph import ACTIVATIONS, OPTIONS, Graph, Operator

FUSED = "FusedActivationFunction"


def fuse_activations(graph: Graph) -> None:
    """Apply it in place, where nothing else reads the value before the activation."""
    uses = Counter(index for op in graph.operators for index in op.inputs)
    uses.update(graph.outputs)
    producers: dict[int, Operator] = {}
    kept = []
    for op in graph.operators:
        before = producers.get(op.inputs[0])
        if op.code in ACTIVATIONS and before is not None and uses[op.inputs[0]] == 1 and _fusible(before):
            before.options[FUSED] = ACTIVATIONS[op.code]
            before.outputs = op.outputs
        else:
            before = op
            kept.append(op)
        producers.update(dict.fromkeys(op.outputs, before))
    graph.operators = kept


def _fusible(op: Operator) -> bool:
    return FUSED in OPTIONS.get(op.code, ("", ()))[1] and not op.options.get(FUSED)
