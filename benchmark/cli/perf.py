"""``perf``: step times, throughput and memory of methods and peers side by side on this machine."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.perf.contenders import Contender
    from benchmark.perf.workload import Workload
    from benchmark.plan import Request
    from benchmark.spec import RunSpec

EPILOGUE = """\
examples:
  python -m benchmark perf
  python -m benchmark perf --scenario cifar100-20 --set backbone.width=0.25 --batch-size 32,128 --out perf
  python -m benchmark perf --scale --out perf
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``perf``."""
    parser = subparsers.add_parser(
        "perf",
        help="step time, throughput and memory of methods and peers side by side",
        description="Times training steps of methods and of what users would use instead, in rounds, warm-up excluded. "
        "Where a scenario's data are not at hand, noise of the same shape stands in.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument("--scenario", default="digits", help="name or YAML file (default: digits)")
    what.add_argument(
        "--method", action="append", metavar="M", help="name or group, repeatable, comma lists; default: paper"
    )
    what.add_argument("--backbone", metavar="NAME", help="instead of the scenario's own")
    what.add_argument("--bn-policy", metavar="P", help="frozen or per-task; default: as the method's paper")
    what.add_argument("--set", action="append", metavar="KEY=VALUE", help="any setting; see 'list settings'")
    what.add_argument("--batch-size", default="32", metavar="N,N", help="comma list (default: 32)")
    what.add_argument("--peers", default="all", metavar="P", help="all (default), none, or plain: only the plain loop")
    what.add_argument("--scale", action="store_true", help="instead: time, memory and bytes from 5 to 200 tasks")
    what.add_argument(
        "--tasks", type=int, default=200, metavar="N", help="how many tasks --scale learns (default: 200)"
    )
    how = parser.add_argument_group("where and how")
    how.add_argument("--data-root", type=Path, metavar="DIR", help="default: $BENCHMARK_DATA_ROOT, else ./data")
    how.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    how.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    how.add_argument("--compile", default="off", choices=("off", "backbone"))
    how.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")
    how.add_argument("--steps", type=int, default=20, metavar="N", help="steps per round (default: 20)")
    how.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds (default: 7)")
    how.add_argument("--out", type=Path, metavar="DIR", help="write step.csv, step.txt, step.png and step.svg there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
        RequestError: the request is wrong; nothing was measured.
    """
    sizes = _batch_sizes(args.batch_size)
    for name in ("steps", "repeats", "tasks"):
        if getattr(args, name) < 1:
            raise RequestError(f"--{name} must be at least 1, not {getattr(args, name)}.")
    if args.peers not in ("all", "none", "plain"):
        raise RequestError(f"--peers {args.peers!r} is unknown; choose one of all, none, plain.")
    if args.out is not None:
        _require_folder(args.out)
    if args.scale:
        from benchmark.perf.scale import run_scale

        return run_scale(_specs(args), args)
    return _run_steps(args, sizes)


def _batch_sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        raise RequestError(
            f"--batch-size {text!r} must be whole numbers with commas between, such as 32,128."
        ) from None
    if min(sizes) < 2:
        raise RequestError(f"--batch-size must be at least 2 (BN needs two images), not {min(sizes)}.")
    return sizes


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {folder} cannot be made a folder ({error.strerror}).") from error


def _request(args: argparse.Namespace) -> Request:
    from benchmark.cli.options import device_of
    from benchmark.overrides import parse
    from benchmark.plan import DEFAULT_METHODS, Request

    args.device = device_of(args.device)
    return Request(
        scenario=args.scenario,
        methods=tuple(name.strip() for name in ",".join(args.method).split(",")) if args.method else DEFAULT_METHODS,
        backbone=args.backbone,
        bn_policy=args.bn_policy,
        device=args.device,
        precision=args.precision,
        compile=args.compile,
        overrides=parse(args.set or ()),
    )


def _specs(args: argparse.Namespace) -> list[RunSpec]:
    """One spec a method. Raises RequestError."""
    from benchmark.plan import plan
    from benchmark.scenarios.registry import load_scenario

    return list(plan(_request(args), load_scenario(args.scenario), None))


def _contenders(specs: list[RunSpec], workload: Workload, wanted_peers: str) -> list[Contender]:
    """Fine-tuning with every optimizer that is needed, the methods, and the peers."""
    from benchmark.perf.contenders import fine_tuning, method, optimizer_of
    from benchmark.perf.peers import peers

    others = [spec for spec in specs if spec.method != "finetune"]
    optimizers = sorted({"adam", *(optimizer_of(spec) for spec in others)})
    found = [fine_tuning(workload, optimizer) for optimizer in optimizers]
    found += [method(workload.with_spec(spec)) for spec in others]
    if wanted_peers == "none":
        return found
    return found + [peer for peer in peers(workload) if wanted_peers == "all" or peer.name == "plain loop"]


def _run_steps(args: argparse.Namespace, sizes: list[int]) -> int:
    specs = _specs(args)
    print("importing torch and avalanche …", flush=True)
    import torch

    from benchmark.data.locate import data_root
    from benchmark.perf.floor import measured_rates
    from benchmark.perf.measurement import Row, measure
    from benchmark.perf.surroundings import surroundings
    from benchmark.perf.tables import as_csv, as_text, write_picture
    from benchmark.perf.workload import Workload, read_pixels
    from benchmark.scenarios.registry import load_scenario
    from results.atomic import write_text

    warnings.filterwarnings("ignore", message="No loggers specified")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    pixels = read_pixels(load_scenario(args.scenario), data_root(args.data_root), device)
    backbone = specs[0].backbone
    title = (
        f"{args.scenario}, {backbone['name']} at width {backbone['width']:g}, {args.precision}, compile {args.compile}"
    )
    lines = [title, *surroundings(device)]
    if pixels.synthetic:
        lines.append("images: noise of the scenario's shape, its data are not at hand")
    print("\n".join(lines), flush=True)
    rows: list[Row] = []
    rates = measured_rates(Workload(pixels, specs[0], device, sizes[0], args.steps))
    lines.append(
        f"rates reached: {rates.flops / 1e9:.0f} GFLOP/s in a matrix product, {rates.bytes / 1e9:.1f} GB/s in a copy"
    )
    for size in sizes:
        workload = Workload(pixels, specs[0], device, size, args.steps)
        contenders = _contenders(specs, workload, args.peers)
        rows += measure(contenders, args.repeats, rates, lambda line: print(line, flush=True))
    lines += ["", as_text(rows), "", f"{args.repeats} rounds of {args.steps} steps; ratios are medians over rounds."]
    print("\n".join(lines[len(lines) - 5 :]), flush=True)
    if args.out is not None:
        write_text(args.out / "step.txt", "\n".join([*lines, *surroundings(device)]) + "\n")
        write_text(args.out / "step.csv", as_csv(rows))
        write_picture(rows, title, args.out)
        print(f"written: {args.out}/step.csv, step.txt, step.png, step.svg")
    return 0
