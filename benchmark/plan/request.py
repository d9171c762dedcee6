"""What a user asks for: the options, each one field of ``Request``. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.execution import Execution
from benchmark.plan.grid_option import read_grid
from benchmark.plan.options import HOW, option, read_values
from benchmark.plan.shard_option import read_shard
from methods.card import BN_POLICIES
from methods.engine.knobs import shown
from methods.registry import GROUPS, METHODS, use_plugins

#: rules by which the epoch that counts is chosen
SELECTIONS = ("validation", "last", "legacy-test")
DEFAULT_METHODS = ("paper",)


@dataclass(frozen=True)
class Request(Execution):
    """What a user asks for; None: the scenario's or method's own default."""

    scenario: str = option("digits", "name or YAML file", also=("dataset", "benchmark", "data"))
    methods: tuple[str, ...] = option(
        DEFAULT_METHODS, "name or group, repeatable, comma lists", word="method", metavar="M", told="paper",
        least_items=1, also=("strategy", "algorithm", "model"),
    )  # fmt: skip
    seeds: tuple[int, ...] = option(
        (0,),
        "repeatable, comma lists",
        word="seed",
        metavar="N",
        told="0",
        least_items=1,
        at_most=2**32 - 1,
        also=("random_seed", "random_state"),
    )
    tasks: int | None = option(None, "only the first N tasks", metavar="N", at_least=1, also=("n_tasks", "experiences"))
    train_limit: int | None = option(None, "at most N training images per task", metavar="N", at_least=1)
    test_limit: int | None = option(None, "at most N test images per task", metavar="N", at_least=1)
    synthetic_data: bool = option(
        False, "generated images of the true sizes and counts: for time, memory and size; no accuracy is shown",
        also=("fake_data", "noise"),
    )  # fmt: skip
    epochs: int | None = option(
        None, "length of the main phase; all else scales with it", metavar="N", at_least=1, also=("num_epochs",)
    )
    backbone: str | None = option(
        None, "instead of the scenario's own", metavar="NAME", also=("network", "arch", "architecture")
    )
    weights: Path | None = option(
        None, "pretrained weights: safetensors or a state dict", metavar="FILE", also=("pretrained", "checkpoint")
    )
    protocol: str | None = option(
        None,
        "whose epochs and rates to take: those of cifar100-20, cifar100-superclass, digits or imagenet2sketch; source, "
        "what each method's own code did in the scenario's paper; or pretrained, which other scenarios with pretrained "
        "weights take",
        metavar="P", told="the scenario's",
    )  # fmt: skip
    tuned: Path | None = option(
        None, "settings that 'tune' found, for the methods that it holds", metavar="FILE", also=("hyperparameters",)
    )
    bn_policy: str | None = option(
        None, "frozen or per-task", metavar="P", choices=BN_POLICIES, told="as the method's paper"
    )
    selection: str = option(
        "validation", "the epoch that counts: best on held-out images, the last, or best on test images",
        metavar="RULE", choices=SELECTIONS,
    )  # fmt: skip
    initial_task: int = option(1, "the task that trains the backbone", metavar="N", at_least=1)
    grid: Mapping[str, tuple[Any, ...]] | None = option(
        None,
        "the cross product of choices of masks: units, surrogate, soft, bn, initial; without a value all of them at "
        "their usual levels, see 'list settings'",
        metavar="FACTOR=LEVEL,LEVEL", reader=read_grid, words=True, also=("ablation", "factorial", "cross"),
    )  # fmt: skip
    precision: str = option(
        "fp32", "arithmetic of the network", metavar="P", choices=("fp32", "tf32", "bf16"), group=HOW
    )
    compile: str = option(
        "off", "backbone: torch.compile it in place", metavar="C", choices=("off", "backbone"), group=HOW
    )
    shard: tuple[int, int] | None = option(
        None, "only the second of five parts of the runs, for machines that share nothing; see 'merge'", metavar="2/5",
        reader=read_shard, group=HOW, everywhere=False,
    )  # fmt: skip
    overrides: Mapping[str, Any] = option(
        {}, "any setting, see 'list settings'; of a setting that takes one value, several with commas are a sweep",
        word="set", metavar="KEY=VALUE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Jobs of a cluster that ask for cards compute on them, whatever this machine has."""
        if self.executor == "slurm" and self.device == "auto":
            object.__setattr__(self, "device", "cuda" if (self.slurm or {}).get("gpus") else "cpu")


def request_of(values: Mapping[str, Any]) -> Request:
    """A request from plain values by field or option name, as Python and configuration files give them.

    Raises:
        RequestError: an unknown name, or a value that an option or a setting cannot take.
    """
    from benchmark.plan.overrides import checked  # help and ``list`` do without

    given = dict(values)
    overrides: dict[str, Any] = {}
    for name in ("set", "settings"):
        wanted = given.pop(name, None) or {}
        if not isinstance(wanted, Mapping):
            raise RequestError(
                f"{name} must hold keys and values, such as {{'mask.units': 'kernel'}}, not {shown(wanted)}."
            )
        overrides |= wanted
    found = read_values(Request, given, lambda one: one.name)
    use_plugins(found.get("plugins", ()))
    return Request(**found, overrides=checked(overrides))


def method_names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names and groups -> names, each once, in the order given.

    Raises:
        RequestError: an unknown name.
    """
    names: dict[str, None] = {}
    for name in wanted:
        if name not in METHODS and name not in GROUPS:
            known = (*METHODS, *GROUPS)
            raise RequestError(
                f"There is no method {name!r}.{did_you_mean(name, known)} Methods are {', '.join(METHODS)}; "
                f"groups are {', '.join(GROUPS)}."
            )
        names |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(names)
