"""Every method keeps the one contract (``benchmark.testing``); and the contract notices methods that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream

from benchmark.testing import BrokenContract, check_kill, check_reload, check_run, server
from methods.card import BN_POLICIES
from methods.engine.parts import tensors_of
from methods.registry import METHODS

#: one of each kind of state: masks, shared weights that change, goals and picks
KILLED_IN_THE_SUITE = ("ksm", "packnet", "cpg")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A run of every method under every BN policy; each is checked on the way."""
    place = tmp_path_factory.mktemp("contract")
    return {
        (name, policy): check_run(name, place / policy, bn_policy=policy) for name in METHODS for policy in BN_POLICIES
    }


@pytest.fixture(scope="module")
def executor() -> Iterator[Any]:
    with server() as workers:
        yield workers


def test_every_method_keeps_what_it_promises_and_stores_what_it_counts(
    folders: dict[tuple[str, str], Path],
) -> None:
    assert len(folders) == 2 * len(METHODS)


def test_every_method_comes_back_in_a_fresh_process(folders: dict[tuple[str, str], Path]) -> None:
    check_reload(folders.values())


@pytest.mark.parametrize("name", KILLED_IN_THE_SUITE)
def test_a_killed_run_ends_as_one_left_alone(name: str, executor: Any, tmp_path: Path) -> None:
    check_kill(name, executor, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", METHODS)
def test_a_run_killed_after_every_epoch_ends_as_one_left_alone(name: str, executor: Any, tmp_path: Path) -> None:
    check_kill(name, executor, tmp_path, after=2)


@pytest.mark.parametrize("name", METHODS)
def test_card_and_strategy_are_of_one_mind(name: str) -> None:
    card = METHODS[name]
    assert card.load().card is card
    strategy = make_strategy(name, epochs=1)
    experiences, test = tiny_stream(2)
    learn(strategy, experiences)
    kept = tensors_of(strategy.learned[1])
    restored = card.load_restore()(strategy.shared(), kept, strategy.layout)
    assert restored.keys() <= {**strategy.view.backbone.state_dict()}.keys()
    strategy.view.activate(restored, kept["head.weight"], kept["head.bias"])
    strategy.view.eval()
    with torch.no_grad():
        again = torch.cat([strategy.view(batch) for batch, _ in test[1].evaluation_batches(100)])
    strategy.forget_view()
    assert torch.equal(again, strategy.logits(1, test[1]))


def test_contract_notices_a_method_that_forgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmark.execute.promise import BrokenPromise
    from methods.finetune.strategy import FineTune, FineTuneSequential

    monkeypatch.setattr(FineTune, "keep", FineTuneSequential.keep)  # overwrites what all tasks share
    with pytest.raises(BrokenPromise, match="finetune promises that it never forgets"):
        check_run("finetune", tmp_path)


def test_contract_notices_a_backbone_that_moves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from methods.head_only.strategy import HeadOnly

    def keep(self: Any, task: Any) -> Any:
        with torch.no_grad():
            self.view.backbone.features[1].bias.add_(1)
        return self.own_kept()

    monkeypatch.setattr(HeadOnly, "keep", keep)
    monkeypatch.setattr("benchmark.execute.promise.Promise.hold", lambda self: None)
    monkeypatch.setattr("benchmark.testing._note_before_keeping", lambda runner, under_way: None)
    with pytest.raises(BrokenContract, match="the shared tensors changed after task 1"):
        check_run("head-only", tmp_path)


def test_contract_notices_a_size_that_is_not_what_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from methods.engine.parts import Part

    monkeypatch.setattr(Part, "numbers", property(lambda self: 1))
    with pytest.raises(BrokenContract, match="the itemised size is"):
        check_run("ksm", tmp_path)


def test_contract_notices_a_file_that_is_not_what_was_learned(
    folders: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy = tmp_path / "run"
    shutil.copytree(folders["ksm", "per-task"], copy)
    expected = load_file(copy / "logits.safetensors")
    expected["logits2"] = expected["logits2"] + 1
    save_file(expected, copy / "logits.safetensors")
    with pytest.raises(BrokenContract, match="comes back with other logits"):
        check_reload([copy])


def test_contract_notices_parts_that_do_not_restore_what_was_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A mask that is stored and never applied."""
    import dataclasses

    from methods.ksm.strategy import KSM

    card = dataclasses.replace(METHODS["ksm"], restore="methods.engine.restore:own_tensors")
    monkeypatch.setattr(KSM, "card", card)
    with pytest.raises(BrokenContract, match="what task .* keeps does not restore what it trained"):
        check_run("ksm", tmp_path, overrides={"ksm.lr": 5e-3})


def test_a_method_on_random_weights_never_trains_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import dataclasses

    from safetensors.torch import load_file

    from methods.card import SIGNED_CONSTANT, Needs
    from methods.ksm.strategy import KSM

    card = dataclasses.replace(METHODS["ksm"], needs=Needs(backbone=SIGNED_CONSTANT))
    monkeypatch.setattr(KSM, "card", card)
    monkeypatch.setitem(METHODS._cards(), "ksm", card)
    folder = check_run("ksm", tmp_path)
    shared = load_file(folder / "tasks" / "shared.safetensors")
    weights = shared["backbone.features.0.weight"]
    assert torch.allclose(weights.abs(), torch.full_like(weights, (2 / 9) ** 0.5))
    assert 0.3 < (weights > 0).float().mean() < 0.7


def test_a_run_that_forgot_while_it_was_away_does_not_finish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed after its second task, with the stored backbone changed before it goes on."""
    from small_runs import small_options, small_spec

    from benchmark.execute.checkpoint import read_tensors, write_tensors
    from benchmark.execute.runner import run
    from benchmark.execute.store import run_folder

    class Killed(BaseException):
        pass

    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "task-end" and event["position"] == 2:
            raise Killed

    spec, options = small_spec("piggyback"), small_options(tmp_path)
    torch.set_num_threads(1)
    with pytest.raises(Killed):
        run(spec, options, stop)
    path = run_folder(tmp_path, *spec.ids).backbone
    tensors, about = read_tensors(path)
    tensors["backbone.features.0.weight"] = tensors["backbone.features.0.weight"] * 1.5
    write_tensors(path, tensors, about)  # no damage: the file vouches for what it holds
    record = run(spec, options, lambda event: None)
    assert record is not None and not record.finished
    assert "after the run was interrupted the logits of" in (record.error or "")


def test_what_later_tasks_change_is_written_anew_and_survives_a_kill(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A method that moves the heads of earlier tasks with every task, as LwF refits them; cut every second epoch."""
    import dataclasses

    from safetensors.torch import load_file
    from small_runs import numbers, run_here, small_options, small_spec, stored

    from benchmark.execute.runner import run
    from benchmark.execute.store import run_folder
    from methods.card import Promises
    from methods.finetune.strategy import FineTune

    def keep(self: Any, task: Any) -> Any:
        for parts in self.learned.values():
            part = parts["head.bias"]
            parts["head.bias"] = dataclasses.replace(part, tensor=part.tensor + 1.0)
        return self.own_kept()

    card = dataclasses.replace(METHODS["finetune"], promises=Promises(no_forgetting=False))
    monkeypatch.setattr(FineTune, "keep", keep)
    monkeypatch.setattr(FineTune, "kept_changes", True)
    monkeypatch.setattr(FineTune, "card", card)
    monkeypatch.setitem(METHODS._cards(), "finetune", card)
    spec = small_spec("finetune", epochs=3)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    first = load_file(run_folder(tmp_path / "calm", *spec.ids).task(1))["head.bias"]
    assert first.min() > 1.5, "the first head was moved twice"

    class Killed(BaseException):
        pass

    options, attempts = small_options(tmp_path / "runs", checkpoint_seconds=0.0), 0
    while True:
        epochs = 0

        def stop(event: dict[str, Any]) -> None:
            nonlocal epochs
            epochs += event["type"] == "epoch"
            if epochs == 2:
                raise Killed

        try:
            record = run(spec, options, stop)
            break
        except Killed:
            attempts += 1
            assert attempts < 30
    assert attempts > 2
    assert record is not None and record.error is None
    assert numbers(record) == numbers(calm)
    assert record.learned_sha256 == calm.learned_sha256
    assert stored(tmp_path / "runs" / record.run_id) == stored(tmp_path / "calm" / record.run_id)
