"""The task metric of a deployed model, by the evaluation that judged the trained one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bibench.deploy.exporting import Deployed
from bibench.deploy.manifest import path_of
from bibench.deploy.parts import WITHOUT_POSTPROCESSING
from bibench.deploy.source import padded
from bibench.foundation.errors import UnsupportedError
from bibench.tasks import Task
from bibench.tasks.base import Evaluation


class DeployedModule(nn.Module):
    """A deployed model that is called as the module it was made from."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        sizes = [tensor.shape[1:] for tensor in self.deployed.manifest.inputs]
        outputs = [torch.from_numpy(y) for y in self.deployed(*padded(inputs, sizes))]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def judge(model: nn.Module | Deployed, task: Task, split: str = "test", batch_size: int = 64) -> Evaluation:
    """Evaluate a trained or deployed model on a split of its task.

    Raises:
        UnsupportedError: a deployed detector, which has no postprocessing.
    """
    if isinstance(model, Deployed):
        if WITHOUT_POSTPROCESSING in model.manifest.notes:
            raise UnsupportedError(f"{path_of(model.path).name}: a detector without its postprocessing has no metric")
        model = DeployedModule(model)
    with torch.inference_mode():
        return task.evaluate(model, task.batches(split, batch_size=batch_size), torch.device("cpu"))
