"""The file that ``tune`` leaves and ``run --tuned`` takes: settings by method, and how they were found.

The same seed gives the same bytes. What the trials took lies beside it, in ``NAME.seconds.json``, since no two
computers take equally long.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.run_parts import Tuning
from methods.engine.knobs import shown
from results.atomic import write_json, write_text
from results.shapes import ShapeError, check_fields

if TYPE_CHECKING:
    from benchmark.plan.request import Request
    from benchmark.plan.spec import RunSpec

HEADING = """\
# Settings found by trials on validation images: python -m benchmark run --tuned FILE takes them.
# trial 0 is the protocol's own settings; accuracies are fractions of validation images answered rightly.
"""


@dataclass(frozen=True)
class Chosen:
    """One method's settings, as for ``--set``, and how they were found."""

    settings: dict[str, Any]
    trial: int
    trials: int
    pruned: int
    validation: float
    untuned: float | None
    space: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """The whole file."""

    scenario: str
    backbone: str
    width: float
    tasks: int
    seed: int
    epochs: int | None
    bn_policy: str | None
    methods: dict[str, dict[str, Any]]
    chosen: dict[str, Chosen] = field(default_factory=dict)  #: ``methods``, read
    seconds: dict[str, float] = field(default_factory=dict)  #: by method, where the sidecar is there

    def require_fit(self, request: Request, scenario: str, methods: Sequence[str]) -> None:
        """Raises RequestError: the settings were found for something else, or not for all of these methods."""
        if absent := [name for name in methods if name not in self.chosen]:
            raise RequestError(
                f"{request.tuned} holds no settings of {', '.join(absent)}; name the methods that it has with --method "
                f"{','.join(self.chosen)}, or tune the others too."
            )
        asked = {"scenario": scenario, "epochs": request.epochs, "bn_policy": request.bn_policy}
        for name, value in asked.items():
            if value != (own := getattr(self, name)):
                flag = f"--{name.replace('_', '-')}"
                raise RequestError(
                    f"{request.tuned} was made with {flag} {_word(own)}, not {_word(value)}; settings hold for "
                    "what they were found on: ask for the same, or tune anew."
                )
        for method in methods:
            if both := [key for key in self.chosen[method].settings if key in request.overrides]:
                raise RequestError(f"{request.tuned} sets {both[0]} itself; leave out --set {both[0]}, or --tuned.")

    def marked(self, spec: RunSpec) -> RunSpec:
        """A run with these settings says so. Raises RequestError: on another backbone."""
        if (spec.backbone.name, spec.backbone.width) != (self.backbone, self.width):
            raise RequestError(
                f"The tuned settings were found on {self.backbone} of width {self.width:g}, not on "
                f"{spec.backbone.name} of width {spec.backbone.width:g}; ask for the same, or tune anew."
            )
        return dataclasses.replace(spec, tuning=self.of(spec.method), tuning_seconds=self.seconds.get(spec.method))

    def of(self, method: str) -> Tuning:
        """What a record says of a method's tuning."""
        one = self.chosen[method]
        untuned = one.validation if one.untuned is None else one.untuned
        return Tuning(one.trials, self.tasks, self.seed, one.space, one.trial, one.validation, untuned, one.pruned)


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def require_place(path: Path) -> None:
    """Raises RequestError where the file cannot be written."""
    if not str(path) or path.suffix not in (".yaml", ".yml"):
        raise RequestError(f"--out {path} must be the name of a YAML file, such as tuned.yaml.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise RequestError(
            f"--out {path} cannot be written: {'it is a' if path.is_dir() else 'there is no such'} folder."
        )


def seconds_path(path: Path) -> Path:
    """Where the trials' seconds lie."""
    return path.with_name(f"{path.stem}.seconds.json")


def write(path: Path, about: Mapping[str, Any], chosen: Mapping[str, Chosen], seconds: Mapping[str, float]) -> None:
    """Write the file and its sidecar, each whole or not at all. Raises OSError."""
    import yaml

    methods = {name: {**dataclasses.asdict(one), "space": list(one.space)} for name, one in chosen.items()}
    text = yaml.safe_dump({**about, "methods": methods}, sort_keys=False, width=1000)
    write_json(seconds_path(path), {name: round(value, 3) for name, value in seconds.items()})
    write_text(path, HEADING + text)


def content_of(path: Path) -> dict[str, Any]:
    """What the file holds, unchecked. Raises RequestError: it is no YAML with a mapping."""
    from benchmark.yaml_file import load_mapping

    return dict(load_mapping(path, "The file of tuned settings", ", as 'python -m benchmark tune' writes them"))


def read(path: Path) -> Tuned:
    """The file, checked; its settings are checked where they are used.

    Raises:
        RequestError: it cannot be read, or is no such file.
    """
    from benchmark.plan.overrides import checked

    content = content_of(path)
    needed = [item.name for item in dataclasses.fields(Tuned) if item.name not in ("chosen", "seconds")]
    if lacking := [name for name in needed if name not in content]:
        raise RequestError(f"{path} is no file of tuned settings: it has no {lacking[0]!r}. Make one with tune --out.")
    if beyond := [name for name in content if name not in needed]:
        raise RequestError(f"{path} has the unknown key {beyond[0]!r}.{did_you_mean(beyond[0], needed)}")
    try:
        check_fields(Tuned, content)
        chosen = {name: _chosen(entry) for name, entry in content["methods"].items()}
    except (ShapeError, KeyError) as error:
        raise RequestError(f"{path}: {error}.") from None
    for name, one in chosen.items():
        try:
            checked(one.settings)
        except RequestError as error:
            raise RequestError(f"{path}, {name}: {error}") from None
    return Tuned(**content, chosen=chosen, seconds=_seconds(path))


def _chosen(entry: Mapping[str, Any]) -> Chosen:
    names = [item.name for item in dataclasses.fields(Chosen)]
    if unlike := {*names} ^ {*entry}:
        raise ShapeError(f"a method has {', '.join(names)}; they differ in {sorted(unlike)[0]!r}")
    check_fields(Chosen, entry)
    return Chosen(**{**entry, "space": tuple(entry["space"])})


def _seconds(path: Path) -> dict[str, float]:
    """By method; empty where the sidecar is absent. Raises RequestError where it is no such file."""
    beside = seconds_path(path)
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RequestError(f"{beside} holds no seconds by method ({shown(str(error))}); remove it.") from None
