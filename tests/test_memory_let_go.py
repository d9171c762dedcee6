"""Large tensors are let go of when nothing needs them any more, not when the collector of circles comes by."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import run_here, small_options, small_spec
from tiny import learn, make_strategy, tiny_stream

from benchmark.execute.allocator import FreedBlocks
from benchmark.execute.assembly import warm_up
from benchmark.execute.checkpoint import in_bytes
from benchmark.perf.memory import with_peak
from methods.engine.optimise import Group, Optimizers
from methods.engine.schedule import Schedule
from methods.engine.trainer import Trainer
from methods.registry import METHODS

#: methods that learn from any stream, without the networks of a finished run
ALONE = [name for name, card in METHODS.items() if card.needs.networks_of is None]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ALONE)
def test_no_moments_and_no_gradients_outlive_their_phase(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[tuple[str, weakref.ref[Any]]] = []
    whole = Trainer.run

    def watched(self: Trainer, task: Any, key: str, plan: Any) -> Any:
        phases.append((key, weakref.ref(plan.optimizers)))
        return whole(self, task, key, plan)

    monkeypatch.setattr(Trainer, "run", watched)
    strategy = make_strategy(name)
    learn(strategy, tiny_stream(2)[0])
    assert [key for key, optimizers in phases if optimizers() is not None] == []
    assert [key for key, tensor in strategy.mutable().items() if tensor.grad is not None] == []
    if name == "cpg":
        assert len([key for key, _ in phases if key.startswith("prune")]) > 2


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("method", ["cpg", "piggyback"])
def test_networks_trained_for_a_run_are_gone_when_it_goes_on(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[tuple[str, str, list[str]]] = []
    make, whole = Trainer.__init__, Trainer.run

    def counted(self: Trainer, learner: Any) -> None:
        made.append(weakref.ref(learner))
        make(self, learner)

    def watched(self: Trainer, task: Any, key: str, plan: Any) -> Any:
        alive.append((type(self._learner).__name__, key, [type(one()).__name__ for one in made if one() is not None]))
        return whole(self, task, key, plan)

    monkeypatch.setattr(Trainer, "__init__", counted)
    monkeypatch.setattr(Trainer, "run", watched)
    record, _ = run_here(small_spec(method, tasks=2), small_options(tmp_path))
    assert record.status == "finished"
    assert len(made) > 1
    own = METHODS[method].load().__name__
    assert [(key, networks) for learner, key, networks in alive if learner == own and networks != [own]] == []


def test_a_checkpoint_copies_no_tensor_that_can_be_written_as_it_is() -> None:
    tensors = {"a": torch.ones(1 << 18), "b": torch.zeros(1 << 18)}
    content, added = with_peak(lambda: in_bytes(tensors, {}), torch.device("cpu"))
    assert added == 0
    copied, added = with_peak(lambda: in_bytes({**tensors, "c": tensors["a"][:8]}, {}), torch.device("cpu"))
    assert 0 < added < 1 << 18
    assert len(copied) > len(content) > 1 << 21


def test_moments_are_written_from_where_they_lie() -> None:
    weight = torch.ones(8, requires_grad=True)
    optimizers = Optimizers([Group([weight], "sgd", 0.1, Schedule("constant", 1), momentum=0.9)])
    weight.sum().backward()
    optimizers.step()
    (moment,) = optimizers.tensors().values()
    assert moment.data_ptr() == optimizers.members[0].state[weight]["momentum_buffer"].data_ptr()


def test_warming_up_leaves_no_copies_of_the_network() -> None:
    strategy = make_strategy("cpg")
    experience = tiny_stream(1)[0][0]
    spec: Any = SimpleNamespace(protocol=SimpleNamespace(batch_size=16))
    prepared: Any = SimpleNamespace(images=experience.task_images)
    warm_up(spec, strategy.view, prepared, torch.device("cpu"))
    assert strategy.view._replaced == {}


def test_many_freed_blocks_go_back_after_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(FreedBlocks, "are_many", lambda self: True)
    monkeypatch.setattr(FreedBlocks, "give_back", lambda self: given_back.append(1))
    record, events = run_here(small_spec("cpg", tasks=2), small_options(tmp_path))
    assert record.status == "finished"
    epochs = [event["phase"] for event in events if event["type"] == "epoch"]
    assert {"goal", "train", "prune"} <= set(epochs)
    assert len(given_back) == len(epochs) + 2  # and before each of the two tasks
