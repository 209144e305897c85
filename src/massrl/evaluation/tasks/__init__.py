"""massrl.evaluation.tasks."""

from __future__ import annotations

from massrl.evaluation.task import Task
from massrl.evaluation.tasks.knn import _knn
from massrl.evaluation.tasks.linear import _linear
from massrl.evaluation.tasks.linear_sgd import _linear_sgd
from massrl.evaluation.tasks.semi import _semi

TASKS: dict[str, Task] = {
    "knn": Task("k-NN", _knn),
    "linear": Task("linear probe", _linear),
    "linear-sgd": Task("linear, trained on crops", _linear_sgd),
    "semi-supervised": Task("fine-tuned on", _semi),
}
