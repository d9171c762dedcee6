"""One contract for every method, built in or plugged in: what a method's author runs as a test.

>>> from benchmark.testing import check_method            # doctest: +SKIP
>>> check_method("ksm")                                   # doctest: +SKIP

Real runs on three tasks of the embedded digits, about ten seconds a method. What is checked:

- no earlier task's logits change by a bit, where the card promises it (the runner itself fails such a run);
- the shared tensors keep their hash after task 1, where the card promises a frozen backbone;
- what is stored restores the same logits in a fresh process, which imports no Avalanche; so does the exported file;
- the itemised size equals the bytes that were written, headers apart;
- a run that is killed (SIGKILL) after any epoch, or between tasks, and started again leaves the same record and files.

A method that starts from another one's networks gets a finished run of that one first.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.execute.waves import run_needed
from benchmark.plan.execution import RunOptions
from benchmark.plan.planning import plan
from benchmark.plan.request import Request
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.loader import load_scenario
from methods.card import BN_POLICIES
from methods.registry import METHODS, use_plugins

if TYPE_CHECKING:
    from results.schema import RunRecord

TASKS, EPOCHS, IMAGES = 3, 3, 60
#: tasks that begin and end until a run without epochs is killed: by turns at a beginning and at an end
MOMENTS = 3
#: test images of every task whose logits are compared
COMPARED = 40

_LOGITS = "logits.safetensors"

_RELOAD = """
import sys
from pathlib import Path
from benchmark.testing import reload
reload(Path(folder) for folder in sys.argv[1:])
assert "avalanche" not in sys.modules, "avalanche was imported"
"""


class BrokenContract(AssertionError):
    """A method does not keep the contract; the message says which part."""


def check_method(name: str, *, plugin: str | None = None, folder: Path | None = None, kill: bool = True) -> None:
    """Hold one method to the contract, under both BN policies.

    Args:
        name: as in ``--method``.
        plugin: a module with ``CARDS``, where the method is in no installed package.
        folder: for the runs; a temporary one by default.
        kill: the last part too, which starts processes.

    Raises:
        BrokenContract: a part does not hold.
    """
    plugins = (plugin,) if plugin else ()
    use_plugins(plugins)
    if name not in METHODS:
        raise BrokenContract(f"there is no method {name!r}; the methods are {', '.join(METHODS)}")
    with _place(folder) as place:
        folders = [check_run(name, place / policy, bn_policy=policy, plugins=plugins) for policy in BN_POLICIES]
        check_reload(folders)
        if kill:
            with server() as executor:
                check_kill(name, executor, place / "kill", plugins=plugins)


def spec_of(name: str, **request: Any) -> RunSpec:
    """A small run of the method on digits, in which every phase has an epoch at least."""
    wanted = Request(methods=(name,), tasks=TASKS, epochs=EPOCHS, train_limit=IMAGES, **request)
    return next(spec for spec in plan(wanted, load_scenario("digits"), None) if spec.method == name)


def _options(results: Path, **changes: Any) -> RunOptions:
    options = RunOptions(results, scenario_source="digits", threads=1, keep_weights="all")
    return dataclasses.replace(options, **changes)


def check_run(name: str, results: Path, *, plugins: Sequence[str] = (), **request: Any) -> Path:
    """A run in this process; its folder, with the logits that ``reload`` compares. Raises BrokenContract."""
    import torch
    from safetensors.torch import save_file

    from benchmark.execute.runner import Runner
    from benchmark.execute.store import run_folder
    from methods.engine.sealing import tensors_sha256
    from results.atomic import write_json
    from results.seal import sealed

    card, spec = METHODS[name], spec_of(name, **request)
    run_needed(spec, _options(results, plugins=tuple(plugins)))
    folder = run_folder(results, *spec.ids)
    folder.path.mkdir(parents=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shared: list[str] = []
        under_way: dict[int, Any] = {}
        runner = Runner(spec, _options(results, plugins=tuple(plugins)), folder, lambda event: None)
        emit = runner.emit

        def hear(event: dict[str, Any]) -> None:
            if event["type"] == "task-start":
                _note_before_keeping(runner, under_way)
            elif event["type"] == "task-end":
                shared.append(tensors_sha256(runner.strategy.shared()))
                for label, before in under_way.items():
                    after = runner.strategy.logits(label, _compared(runner, label))
                    if not torch.equal(after, before):
                        raise BrokenContract(
                            f"{name}: what task {event['name']} keeps does not restore what it trained"
                        )
                under_way.clear()
            emit(event)

        runner.emit = hear
        record = runner.run({})
        write_json(folder.record, sealed(record.to_json()))
        if card.promises.frozen_backbone and len(set(shared)) != 1:
            raise BrokenContract(f"{name}, BN {spec.bn_policy}: the shared tensors changed after task 1")
        _check_size(name, record)
        expected = {}
        for index in runner.tasks:
            test = _compared(runner, index - 1)
            expected[f"images{index}"] = (test.images if test.rows is None else test.images[test.rows]).contiguous()
            expected[f"logits{index}"] = runner.strategy.logits(index - 1, test).contiguous()
        save_file(expected, folder.path / _LOGITS)
    finally:
        torch.set_num_threads(threads)
    return folder.path


def _compared(runner: Any, label: int) -> Any:
    """The first test images of a task."""
    test = runner.tasks[label + 1].test
    return test.first(min(len(test), COMPARED))


def _note_before_keeping(runner: Any, under_way: dict[int, Any]) -> None:
    """Have the logits of the network that the next task trained put into ``under_way``, just before it is kept."""
    import torch

    from methods.engine import batchnorm

    strategy, keep = runner.strategy, type(runner.strategy)._keep

    def noting(task: Any) -> Any:
        batchnorm.set_modes(strategy.view, training=False, bn_trains=False)
        strategy._look_at_current()
        batches = _compared(runner, task.label).evaluation_batches(strategy.eval_mb_size)
        with torch.no_grad():
            under_way[task.label] = torch.cat([strategy.view(batch) for batch, _ in batches])
        return keep(strategy, task)

    strategy._keep = noting


def _check_size(name: str, record: RunRecord) -> None:
    size = record.size
    if size is None or size.written_bytes is None or not record.learned_sha256:
        raise BrokenContract(f"{name}: the record says nothing of what is stored")
    written = size.written_bytes - size.header_bytes
    if size.rules["itemised"] != written:
        raise BrokenContract(
            f"{name}: the itemised size is {size.rules['itemised']:,} bytes, the files hold {written:,}"
        )
    counts: dict[str, int] = {}
    for row in record.mask_statistics:
        if row.ones + row.soft + row.zeros != row.units:
            raise BrokenContract(f"{name}: ones, soft values and zeros of {row.layer} do not add up to its units")
        counts[row.task] = counts.get(row.task, 0) + row.units
    if len(set(counts.values())) > 1:
        raise BrokenContract(f"{name}: masks of different tasks have different numbers of units: {counts}")


def check_reload(folders: Iterable[Path]) -> None:
    """``reload`` in one fresh process for all folders of ``check_run``. Raises BrokenContract."""
    words = [sys.executable, "-c", _RELOAD, *(str(folder) for folder in folders)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokenContract(f"a fresh process does not get the same networks back: {done.stderr.strip()[-2000:]}")


def reload(folders: Iterable[Path]) -> None:
    """Every task of every run, restored from what the run stored and from its exported file: the logits of the run.

    Raises:
        BrokenContract: they are not.
    """
    import json

    import torch
    from safetensors.torch import load_file

    from benchmark.execute.stored_run import export_task, read_run
    from methods.engine.task_file import load_task

    torch.set_num_threads(1)
    for folder in folders:
        options = json.loads((folder / "result.json").read_text(encoding="utf-8"))["provenance"].get("options", {})
        use_plugins(options.get("plugins", ()))
        run = read_run(folder)
        expected = load_file(folder / _LOGITS)
        run.network.load_state_dict(run.backbone, strict=False)
        for row in run.record.tasks:
            export_task(run, row, folder / "task.exported")
            network = load_task(run.network, folder / "task.exported")
            with torch.no_grad():
                logits = network(network.normalise(expected[f"images{row.index}"]))
            if not torch.equal(logits, expected[f"logits{row.index}"]):
                raise BrokenContract(f"{folder.name}: task {row.name} comes back with other logits")


@contextmanager
def server() -> Iterator[Any]:
    """Worker processes to kill; they import torch and Avalanche once."""
    from benchmark.execute.executors import ProcessExecutor

    executor = ProcessExecutor()
    executor.start()
    try:
        yield executor
    finally:
        executor.stop()


def check_kill(name: str, executor: Any, results: Path, *, plugins: Sequence[str] = (), after: int = 4) -> None:
    """A run killed after every ``after`` epochs and begun again, against one left alone. Raises BrokenContract.

    Where no epoch is trained, tasks that begin and end stand in for epochs, ``MOMENTS`` of them for a kill.
    """
    from benchmark.execute.executors import Job

    spec = spec_of(name)
    often = {"checkpoint_seconds": 0.0, "plugins": tuple(plugins)}
    trains = METHODS[name].needs.networks_of is None
    after, moments = (after, ("epoch",)) if trains else (MOMENTS, ("task-start", "task-end"))
    for place in ("calm", "killed"):
        run_needed(spec, _options(results / place, **often))
    calm = _carry_out(executor, Job(spec, _options(results / "calm", **often)))
    if calm is None or not calm.finished:
        raise BrokenContract(f"{name}: the run failed: {calm.error if calm else 'no record'}")
    job, kills = Job(spec, _options(results / "killed", **often)), 0
    record = _carry_out(executor, job, after, moments)
    while record is None or not record.finished:
        kills += 1
        if kills > 50:
            raise BrokenContract(f"{name}: a run that is killed again and again never ends")
        record = _carry_out(executor, job, after, moments)
    if not kills:
        raise BrokenContract(f"{name}: the run has ended before its {after}th {moments[0]}; it could not be killed")
    for what, one, other in (
        ("accuracies", calm.accuracy_matrix, record.accuracy_matrix),
        ("curves", [row.curve for row in calm.tasks], [row.curve for row in record.tasks]),
        ("masks", calm.mask_statistics, record.mask_statistics),
        ("measures", calm.measures, record.measures),
        ("stored tensors", calm.learned_sha256, record.learned_sha256),
    ):
        if one != other:
            raise BrokenContract(f"{name}: after {kills} kills the {what} are not those of a run left alone")


def _carry_out(executor: Any, job: Any, kill_after: int | None = None, moments: Sequence[str] = ()) -> RunRecord | None:
    """The record of a run, which is killed at the ``kill_after``-th event of these kinds in this attempt."""
    heard = 0

    def hear(spec: RunSpec, event: dict[str, Any]) -> None:
        nonlocal heard
        heard += event["type"] in moments
        if kill_after is not None and heard >= kill_after:
            executor.kill()

    ((_, record),) = executor.run([job], hear)
    return record  # type: ignore[no-any-return]


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
