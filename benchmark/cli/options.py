"""The options of ``run`` and of ``reproduce``: declared, completed from a configuration file and defaults, turned into
a plan's request. Imports no torch."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from benchmark.plan.request import Request
    from benchmark.plan.spec import RunOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``; ``None`` means: not given, so that a --config file can give it."""
    what = parser.add_argument_group("what to run")
    what.add_argument("--scenario", help="name or YAML file (default: digits)")
    what.add_argument(
        "--method", action="append", metavar="M", help="name or group, repeatable, comma lists; default: paper"
    )
    what.add_argument("--seed", action="append", metavar="N", help="repeatable, comma lists; default: 0")
    what.add_argument("--tasks", type=whole, metavar="N", help="only the first N tasks")
    what.add_argument("--train-limit", type=whole, metavar="N", help="at most N training images per task")
    what.add_argument("--test-limit", type=whole, metavar="N", help="at most N test images per task")
    what.add_argument("--epochs", type=whole, metavar="N", help="length of the main phase; all else scales with it")
    what.add_argument("--backbone", metavar="NAME", help="instead of the scenario's own")
    what.add_argument("--weights", type=Path, metavar="FILE", help="pretrained weights: safetensors or a state dict")
    what.add_argument("--bn-policy", metavar="P", help="frozen or per-task; default: as the method's paper")
    what.add_argument("--selection", metavar="RULE", help="validation (default), last, or legacy-test")
    what.add_argument("--initial-task", type=whole, metavar="N", help="the task that trains the backbone (default: 1)")
    what.add_argument("--set", action="append", metavar="KEY=VALUE", help="any setting; see 'list settings'")
    what.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with these options as keys; options given here win"
    )
    what.add_argument("--from-record", type=Path, metavar="FILE", help="repeat the run of a result.json exactly")
    how = parser.add_argument_group("where and how")
    how.add_argument("--data-root", type=Path, metavar="DIR", help="default: $BENCHMARK_DATA_ROOT, else ./data")
    how.add_argument("--results", type=Path, metavar="DIR", help="default: results/runs")
    how.add_argument("--device", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    how.add_argument("--precision", metavar="P", help="fp32 (default), tf32 or bf16")
    how.add_argument("--compile", metavar="C", help="off (default) or backbone: torch.compile it in place")
    how.add_argument("--workers", type=whole, metavar="N", help="runs at a time (default: 1)")
    how.add_argument("--executor", metavar="E", help="process (default) or local: in this process, for debugging")
    how.add_argument("--threads", type=whole, metavar="N", help="CPU threads per run (default: torch's choice)")
    add_plugin(how)
    how.add_argument("--keep-weights", metavar="W", help="tasks (default), all, or none")
    how.add_argument("--download", action="store_true", help="let torchvision fetch CIFAR-100 into the data root")
    how.add_argument("--force", action="store_true", help="repeat finished runs")
    how.add_argument("--no-resume", action="store_true", help="start unfinished runs afresh")
    how.add_argument("--require-idle-gpu", action="store_true", help="refuse when another process computes on the GPU")
    how.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def whole(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


#: options that a --config file may give, besides "set"
CONFIG_KEYS = (
    "scenario", "method", "seed", "tasks", "train_limit", "test_limit", "epochs", "backbone", "weights", "bn_policy",
    "selection", "initial_task", "plugin", "data_root", "results", "device", "precision", "compile", "workers",
    "executor", "threads", "keep_weights",
)  # fmt: skip

CHOICES = {
    "precision": ("fp32", "tf32", "bf16"),
    "compile": ("off", "backbone"),
    "executor": ("process", "local"),
    "keep_weights": ("tasks", "all", "none"),
}

DEFAULTS: dict[str, Any] = {
    "scenario": "digits",
    "selection": "validation",
    "initial_task": 1,
    "results": Path("results/runs"),
    "device": "auto",
    "precision": "fp32",
    "compile": "off",
    "workers": 1,
    "executor": "process",
    "threads": 0,
    "keep_weights": "tasks",
}


def complete(args: argparse.Namespace, preset: Mapping[str, Any] | None = None) -> None:
    """Fill in what the --config file gives, a ``preset``'s defaults, then the general ones. Raises RequestError."""
    overrides: dict[str, Any] = {}
    if args.config:
        overrides = _apply_config(args)
    for name, value in {**DEFAULTS, **(preset or {})}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name, known in CHOICES.items():
        if getattr(args, name) not in known:
            option = "--" + name.replace("_", "-")
            raise RequestError(f"{option} {getattr(args, name)!r} is unknown; choose one of {', '.join(known)}.")
    if args.workers < 1:
        raise RequestError(f"--workers must be at least 1, not {args.workers}.")
    if args.threads < 0:
        raise RequestError(f"--threads must be at least 1, not {args.threads}.")
    args.plugin = plugins_of(args.plugin)
    from benchmark.plan.overrides import checked, parse

    args.overrides = checked(overrides) | parse(args.set or ())


def _apply_config(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the YAML file that the command line does not give; returns its ``set`` section."""
    import yaml

    try:
        content = yaml.safe_load(args.config.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise RequestError(f"The configuration {args.config} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The configuration {args.config} is no valid YAML ({str(error).splitlines()[0]})."
        ) from error
    if not isinstance(content, dict):
        raise RequestError(f"The configuration {args.config} must hold keys and values, like the options of run.")
    overrides = content.pop("set", None) or {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in CONFIG_KEYS:
            raise RequestError(f"{args.config}: there is no option {key!r}.{did_you_mean(name, CONFIG_KEYS)}")
        if getattr(args, name) is None:
            setattr(args, name, _config_value(args.config, name, value))
    if not isinstance(overrides, dict):
        raise RequestError(f"{args.config}: 'set' must hold keys and values, such as ksm.lr: 2e-4.")
    return overrides


def _config_value(path: Path, name: str, value: Any) -> Any:
    numbers = ("tasks", "train_limit", "test_limit", "epochs", "initial_task", "workers", "threads")
    if name in ("method", "seed", "plugin"):
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]
    if name in ("weights", "data_root", "results"):
        return path.parent / os.path.expanduser(str(value))
    if name in numbers:
        if not isinstance(value, int) or isinstance(value, bool):
            raise RequestError(f"{path}: {name} must be a whole number, not {value!r}.")
        return value
    return str(value)


def plugins_of(words: Sequence[str] | None) -> tuple[str, ...]:
    """Modules of repeated options and comma lists; their methods are known from here on."""
    from methods.registry import use_plugins

    modules = tuple(word.strip() for word in ",".join(words or ()).split(",") if word.strip())
    use_plugins(modules)
    return modules


def add_plugin(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The option ``--plugin``."""
    parser.add_argument(
        "--plugin", action="append", metavar="MODULE", help="take the methods of this module too, repeatable"
    )


def seeds_of(words: Sequence[str] | None) -> tuple[int, ...]:
    """Seeds of repeated options and comma lists, each once. Raises RequestError."""
    seeds: dict[int, None] = {}
    for word in ",".join(words or ["0"]).split(","):
        try:
            seed = int(word)
        except ValueError:
            raise RequestError(f"--seed {word.strip()!r} is no whole number.") from None
        if seed < 0:
            raise RequestError(f"--seed must be at least 0, not {seed}.")
        seeds[seed] = None
    return tuple(seeds)


def device_of(wanted: str) -> str:
    """``auto`` resolved without importing torch: a CUDA device when driver and torch have one. Raises RequestError."""
    if wanted == "auto":
        return "cuda:0" if _has_cuda() else "cpu"
    kind, _, index = wanted.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise RequestError(f"--device {wanted!r} is unknown; choose auto, cpu, cuda or cuda:N.")
    return f"cuda:{index or 0}" if kind == "cuda" else "cpu"


def _has_cuda() -> bool:
    """The driver shows a card, nobody hides it, and the installed torch is no build for the CPU alone."""
    from importlib import metadata

    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    if not (Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()):
        return False
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False


def request_of(args: argparse.Namespace) -> Request:
    """The plan's request. Raises RequestError."""
    from benchmark.plan.request import DEFAULT_METHODS, Request

    methods = tuple(name.strip() for name in ",".join(args.method).split(",")) if args.method else DEFAULT_METHODS
    args.device = device_of(args.device)
    return Request(
        scenario=args.scenario,
        methods=methods,
        seeds=seeds_of(args.seed),
        tasks=args.tasks,
        train_limit=args.train_limit,
        test_limit=args.test_limit,
        epochs=args.epochs,
        backbone=args.backbone,
        weights=args.weights,
        bn_policy=args.bn_policy,
        selection=args.selection,
        initial_task=args.initial_task,
        device=args.device,
        precision=args.precision,
        compile=args.compile,
        overrides={key: value for key, value in args.overrides.items() if not key.startswith("run.")},
    )


def options_of(args: argparse.Namespace, weights: Path | None, threads: int) -> RunOptions:
    """How the runs are carried out; ``threads`` where the user asks for no number. Raises RequestError."""
    from benchmark.data.locate import data_root
    from benchmark.plan.spec import RunOptions

    if args.download:
        args.data_root = args.data_root or Path("data")
        try:
            args.data_root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"--data-root {args.data_root} cannot be made a folder ({error.strerror}).") from error
    if args.require_idle_gpu and args.device == "cpu":
        raise RequestError("--require-idle-gpu needs a GPU, and the runs are on the CPU; leave it out or add --device.")
    root = data_root(args.data_root)
    chosen = {key.removeprefix("run."): value for key, value in args.overrides.items() if key.startswith("run.")}
    return RunOptions(
        results=str(args.results),
        data_root=str(root) if root else None,
        scenario_source=args.scenario,
        weights=str(weights) if weights else None,
        device=args.device,
        threads=args.threads or chosen.pop("threads", 0) or threads,
        keep_weights=args.keep_weights,
        resume=not args.no_resume,
        require_idle_gpu=args.require_idle_gpu,
        plugins=args.plugin,
        command="python -m benchmark " + shlex.join(sys.argv[1:]),
        **{key: value for key, value in chosen.items() if key != "threads"},
    )
