"""What a sweep can do in every cell: each task is a function of a batch of cells."""

from experiments.sweep.tasks.registry import ANY_TASKS, TASKS, Task

__all__ = ["ANY_TASKS", "TASKS", "Task"]
