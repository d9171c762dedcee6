"""The strategies in a plain Avalanche script: its benchmark, its data loader, its metrics, loggers and plugins."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from tiny import make_strategy, tiny_net, tiny_stream, tiny_task

METHODS_HERE = ["ksm", "packnet", "cpg", "finetune"]


@pytest.mark.parametrize("name", METHODS_HERE)
def test_train_and_eval_through_avalanches_own_loader_with_logger_and_plugin(name: str) -> None:
    from avalanche.core import SupervisedPlugin
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.logging import TextLogger
    from avalanche.training.plugins import EvaluationPlugin

    class Counting(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.steps = self.epochs = self.tasks = 0

        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            assert strategy.mb_output.shape[0] == strategy.mb_y.shape[0]
            self.steps += 1

        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            self.epochs += 1

        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.tasks += 1

    experiences, _ = tiny_stream(2, fast=False)
    log, plugin = io.StringIO(), Counting()
    evaluator = EvaluationPlugin(accuracy_metrics(epoch=True, experience=True), loggers=[TextLogger(log)])
    strategy = make_strategy(name, epochs=2, evaluator=evaluator, plugins=[plugin], task_count=2)
    for experience in experiences:
        strategy.train(experience)
    result = strategy.eval(experiences)
    assert plugin.tasks == 2
    assert plugin.steps == 5 * plugin.epochs  # 66 images in batches of 16
    assert "Top1_Acc_Epoch/train_phase" in log.getvalue()
    accuracies = [value for key, value in sorted(result.items()) if key.startswith("Top1_Acc_Exp")]
    # Avalanche's metric over its own loader is our count over device tensors
    assert accuracies == [strategy.correct(label, tiny_task(label)[0].train) / 66 for label in range(2)]


def test_evaluating_a_task_never_seen_is_chance_and_creates_nothing() -> None:
    experiences, _ = tiny_stream(2, fast=False)
    strategy = make_strategy("ksm", epochs=2)
    strategy.train(experiences[0])
    before = {name: tensor.clone() for name, tensor in strategy.view.state_dict().items()}
    strategy.eval(experiences)
    assert list(strategy.learned) == [0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in strategy.view.state_dict().items())


def test_the_example_of_the_readme_runs() -> None:
    import runpy
    from pathlib import Path

    example = Path(__file__).resolve().parent.parent / "docs" / "example_avalanche.py"
    results = runpy.run_path(str(example), run_name="example")
    assert results["main"](epochs=1) > 0.2


def test_backbone_without_feature_dim_is_told_what_to_do() -> None:
    net = tiny_net()
    del type(net).feature_dim
    try:
        experiences, _ = tiny_stream(1)
        strategy = make_strategy("ksm", backbone=net)
        with pytest.raises(ValueError, match="feature_dim"):
            strategy.train(experiences[0], eval_streams=[])
    finally:
        type(net).feature_dim = 6  # type: ignore[attr-defined]
