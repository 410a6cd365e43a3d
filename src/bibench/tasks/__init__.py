"""Learning tasks, one file per data set: data, metric, recipes and the architectures of the paper."""

from bibench.tasks.base import TASKS, Task, task

__all__ = ["TASKS", "Task", "task"]
