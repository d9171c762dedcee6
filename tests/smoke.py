"""The smoke benchmark: ``python tests/smoke.py``. Digits always; two tasks of CIFAR-100 where the data is.

Fails when a run fails, when an accuracy is no better than chance, or when the page is missing. At most five minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from results.reader import read_runs  # noqa: E402

DIGITS = ["--scenario", "digits", "--threads", "1"]
CIFAR = [
    "--scenario", "cifar100-20", "--tasks", "2", "--train-limit", "200", "--epochs", "12",
    "--backbone", "vgg16_bn", "--set", "backbone.width=0.125", "--set", "protocol.batch_size=8",
    "--method", "finetune,piggyback,ksm,head-only", "--set", "ksm.lr=5e-4", "--set", "ksm.head_lr=1e-3",
    "--set", "piggyback.lr=5e-4", "--set", "piggyback.head_lr=1e-3", "--set", "scratch.epochs=24", "--threads", "1",
]  # fmt: skip


def benchmark(options: list[str], results: Path) -> list[str]:
    """Run the command line; returns what is wrong with the outcome."""
    command = [sys.executable, "-m", "benchmark", "run", *options, "--results", str(results / "runs")]
    done = subprocess.run(command, cwd=REPOSITORY, check=False)
    faults = [] if done.returncode == 0 else [f"exit code {done.returncode}: {' '.join(options)}"]
    if not (results / "report" / "index.html").is_file():
        return [*faults, f"no page in {results / 'report'}"]
    for record in read_runs(results / "runs").records:
        if not record.finished:
            faults.append(f"{record.run_id} failed: {record.error}")
        for task in record.tasks:
            if task.accuracy <= 1 / task.classes:
                faults.append(f"{record.run_id}: {task.name} is at chance, {task.accuracy:.3f}")
    return faults


def main() -> int:
    """Both benchmarks; exit code 1 when something is wrong."""
    started = time.monotonic()
    root = Path(os.environ.get("BENCHMARK_DATA_ROOT", REPOSITORY.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        faults = benchmark(DIGITS, Path(folder) / "digits")
        if (root / "cifar100").is_dir():
            faults += benchmark([*CIFAR, "--data-root", str(root)], Path(folder) / "cifar")
        else:
            print(f"smoke: CIFAR-100 is left out, there is no {root / 'cifar100'}")
    for fault in faults:
        print(f"smoke: {fault}", file=sys.stderr)
    print(f"smoke: {'FAILED' if faults else 'passed'} in {time.monotonic() - started:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
