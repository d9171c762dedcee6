"""``--dry-run``: the plan as a table, and how long it will take. Imports no torch here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.errors import RequestError
from benchmark.execute.estimate import Estimates, estimates, in_words, time_steps
from benchmark.plan.needed import needed_run
from benchmark.plan.request import Request
from benchmark.plan.slurm_option import chunk_size, slurm_options
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Scenario


def print_plan(request: Request, scenario: Scenario, specs: Sequence[RunSpec]) -> None:
    """The plan as a table on stdout, one row a run, and how long it will take. Raises RequestError."""
    from benchmark.console import labels
    from benchmark.execute.store import run_folder
    from benchmark.execute.waves import networks_not_kept

    folders = {spec.run_id: run_folder(request.results, *spec.ids) for spec in specs}
    done = {name for name, folder in folders.items() if not request.force and folder.read_finished() is not None}
    to_do = [spec for spec in specs if spec.run_id not in done]
    found, reason, workers = _for_plan(request, scenario, to_do)
    names = labels([spec.to_json() for spec in specs])
    width = max(map(len, names))
    for name, spec in zip(names, specs, strict=True):
        seconds = found.seconds(spec) if found and spec.run_id not in done else None
        time_of = "done" if spec.run_id in done else in_words(seconds) if seconds else "?"
        needed = needed_run(spec)
        training = f"{spec.settings.epochs} epochs" if needed is None else f"from the networks of {needed.run_id}"
        shown = (
            f"{len(spec.task_indices)} tasks, {training}, {spec.backbone.name}, "
            f"BN {spec.bn_policy}, selection {spec.selection}, {spec.device}"
        )
        print(f"{name:<{width}}  {time_of:>8}  {shown}  {spec.run_id}")
    for spec in to_do if not request.force else ():
        if fault := networks_not_kept(spec, request.results):
            print(f"warning: {fault}")
    if request.executor == "slurm" and to_do:
        print(_submission(request, to_do, found))
    print(f"{_counted(len(specs), len(done))}; {_told(found, reason, to_do, workers)}nothing was started.")


def _submission(request: Request, to_do: Sequence[RunSpec], found: Estimates | None) -> str:
    """What would be submitted to SLURM, in a line."""
    options = slurm_options(request.slurm)
    known = [seconds for spec in to_do if found and (seconds := found.seconds(spec)) is not None]
    size = chunk_size(options, len(to_do), max(known, default=None))
    jobs = -(-len(to_do) // size)
    asked = {"partition": options.partition or "SLURM's own choice", "time": f"{options.time} min",
             "gpus": options.gpus, "constraint": options.constraint,
             "memory": options.memory and f"{options.memory:g}G",
             "account": options.account, "qos": options.qos}  # fmt: skip
    told = ", ".join(f"{name} {value}" for name, value in asked.items() if value)
    each = f"{size} runs each" if size > 1 else "a run each"
    line = f"to SLURM: {jobs} job{'s' if jobs > 1 else ''}, {each}, {min(jobs, options.parallel)} at a time; {told}"
    if known and max(known) * size > 60 * options.time:
        line += f"\nthe longest takes about {in_words(max(known) * size)}: it is queued again when its time is over"
    return line


def _counted(runs: int, done: int) -> str:
    plural = "s" if runs != 1 else ""
    return f"{runs} run{plural}" + (f", {done} of them finished already" if done else "")


def _told(found: Estimates | None, reason: str, to_do: Sequence[RunSpec], workers: int) -> str:
    if not to_do:
        return ""
    total = found.total(to_do, workers) if found else None
    if found is None or total is None:
        return f"no estimate of the time: {reason or 'a step of some run could not be timed'}; "
    beside = f" with {workers} at a time" if workers > 1 else ""
    return f"about {in_words(total)}{beside}, by {found.basis(to_do)}; "


def _for_plan(request: Request, scenario: Scenario, specs: Sequence[RunSpec]) -> tuple[Estimates | None, str, int]:
    """Estimates for a plan, or None and why there are none; and how many runs there will be at a time."""
    from benchmark.console import decoding_progress, waiting
    from benchmark.execute.executors import Job, ProcessExecutor, executor_for
    from benchmark.execute.sweep import sweep_of

    if not specs:
        return None, "", 1
    try:
        sweep = sweep_of(request, scenario, specs)
        options = sweep.options
        found = estimates(options.results, options.device, options.threads, scenario)
        wanted = {index for spec in specs for index in spec.task_indices}
        if wanted - set(found.images):
            data = scenario.read(options.data_root, sorted(wanted), decoding_progress())
            found.images = {task.index: len(task.train) for task in data.tasks}
        if not all(found.knows(spec) for spec in specs):
            if options.executor == "slurm" and options.device != "cpu":
                raise RequestError(
                    "no earlier run on a card is in the results folder, and no card is here to time steps."
                )
            executor = ProcessExecutor() if options.executor == "slurm" else executor_for(options, sweep.devices)
            try:
                with waiting("timing a few steps"):
                    executor.start()
                    time_steps(found, executor, [Job(spec, options) for spec in specs])
            finally:
                executor.stop()
    except RequestError as error:
        return None, str(error).rstrip("."), 1
    return found, "", sweep.at_once
