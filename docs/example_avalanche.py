"""KSM in a plain Avalanche script: Avalanche's benchmark, its loader, its accuracy metric and its text logger.

Run it with ``python docs/example_avalanche.py``: five tasks of scikit-learn's digits, about half a minute.
"""

from __future__ import annotations

import torch
from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.logging import TextLogger
from avalanche.training.plugins import EvaluationPlugin
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from benchmark.backbones.builder import build
from methods import KSM
from methods.settings import MaskedSettings, TrainSettings


def digit_pairs(train: bool) -> list[TensorDataset]:
    """Digits {0, 1}, {2, 3}, ... with labels 0 and 1 within each task; every fifth image is for testing."""
    source = load_digits()
    images = torch.tensor(source.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    digits = torch.tensor(source.target)
    chosen = (torch.arange(len(digits)) % 5 != 0) == train
    tasks = []
    for pair in range(5):
        rows = chosen & (digits // 2 == pair)
        task = TensorDataset(images[rows], digits[rows] % 2)
        task.targets = (digits[rows] % 2).tolist()  # Avalanche reads the labels here
        tasks.append(as_classification_dataset(task))
    return tasks


def main(epochs: int = 20) -> float:
    """Learn the five tasks one after another; returns the mean test accuracy."""
    datasets = benchmark_from_datasets(train=digit_pairs(True), test=digit_pairs(False))
    benchmark = with_classes_timeline(task_incremental_benchmark(datasets))
    strategy = KSM(
        backbone=build("small_cnn", channels=1),
        scratch=TrainSettings(epochs=epochs, lr=0.05, milestones=(epochs // 2,)),  # task 1 trains the backbone
        settings=MaskedSettings(epochs=epochs, lr=2e-3, head_lr=1e-2, milestones=(epochs // 2,)),
        train_mb_size=32,
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[TextLogger()]),
    )
    for experience in benchmark.streams["train"]:
        strategy.train(experience, eval_streams=[])
    results = strategy.eval(benchmark.streams["test"])
    accuracies = [value for name, value in results.items() if name.startswith("Top1_Acc_Exp")]
    return sum(accuracies) / len(accuracies)


if __name__ == "__main__":
    print(f"mean accuracy of the five tasks: {main():.3f}")
