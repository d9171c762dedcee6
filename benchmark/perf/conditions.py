"""What a timing of steps begins with: the device, the images, and what its files say of both."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmark.data.locate import data_root
from benchmark.perf.surroundings import device_name, made_ready, surroundings
from benchmark.perf.workload import Pixels, read_pixels
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.loader import load_scenario


@dataclass(frozen=True)
class Setting:
    """Where and on what steps are timed."""

    device: torch.device
    pixels: Pixels
    lines: tuple[str, ...]  #: what the text begins with, the title first
    columns: dict[str, object]  #: what every row of a CSV file has

    @property
    def title(self) -> str:
        """Scenario, backbone, precision."""
        return self.lines[0]


def setting_of(specs: Sequence[RunSpec], args: argparse.Namespace) -> Setting:
    """Make the device ready, read the images, and print what is measured on what.

    Raises:
        RequestError: no such device, or data that were named by ``--data-root`` are not there.
    """
    device = made_ready(args)
    root = data_root(args.data_root)
    pixels = read_pixels(load_scenario(args.scenario), root, device, required=args.data_root is not None)
    backbone = specs[0].backbone
    named = f"{backbone.name} at width {backbone.width:g}"
    lines = [f"{args.scenario}, {named}, {args.precision}, compile {args.compile}", *surroundings(device)]
    if pixels.synthetic:
        lines.append("images: noise of the scenario's shape, its data are not at hand")
    print("\n".join(lines), flush=True)
    columns: dict[str, object] = {
        "scenario": args.scenario,
        "backbone": backbone.name,
        "width": backbone.width,
        "precision": args.precision,
        "compile": args.compile,
        "device": device_name(device),
        "hidden_linear": hidden_linear(specs),
        "overrides": "; ".join(args.set or ()),
        "images": "noise" if pixels.synthetic else "real",
        "threads": torch.get_num_threads() if device.type == "cpu" else "",
    }
    return Setting(device, pixels, tuple(lines), columns)


def hidden_linear(specs: Sequence[RunSpec]) -> str:
    """What the masks do with linear layers inside the backbone: it decides how many numbers a mask has."""
    return next((str(spec.mask.hidden_linear) for spec in specs if spec.mask is not None), "")
