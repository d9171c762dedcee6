"""A thousand records in at most 15 seconds of two cores, five thousand in 22; 1 GiB for all processes together."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_records import CIFAR_TASKS, record

from results.seal import sealed

REPOSITORY = Path(__file__).resolve().parent.parent

CHILD = """
import json, resource, sys, time
from pathlib import Path
from reports.build import build
begun = time.perf_counter()
built = build(Path(sys.argv[1]), Path(sys.argv[2]))
usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({
    "wall": round(time.perf_counter() - begun, 1),
    "processor": [round(one.ru_utime + one.ru_stime, 1) for one in usage],
    "foreign": sorted({"torch", "avalanche", "benchmark"} & {name.split(".")[0] for name in sys.modules}),
    "figures": len(built.figures),
}))
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("seeds", "seconds"), [(100, 15), pytest.param(500, 22, marks=pytest.mark.exhaustive)], ids=["1000", "5000"]
)
def test_thousands_of_records(seeds: int, seconds: float, tmp_path: Path) -> None:
    """As runs leave them: with masks, curves, sizes and their digest."""
    layers = [f"features.{n}" for n in range(15)]
    point = {"phase": "train", "epoch": 0, "lr": 1e-3, "loss": 0.5, "train": 0.5, "validation": 0.5}
    curve = [point | {"epoch": epoch} for epoch in range(5)]
    masks = [(task, layer, 90, 5, 5) for task in CIFAR_TASKS[1:] for layer in layers]
    for number in range(10):
        method = ("finetune", "packnet", "piggyback", "cpg", "ksm", "scratch", "ksm-softmax", "a", "b", "c")[number]
        for seed in range(seeds):
            accuracies = [0.5 + 0.01 * task + 0.002 * number + 0.0001 * (seed % (7 + number)) for task in range(20)]
            run = record(method, seed, accuracies, masks=masks, curve=curve, sizes={"itemised": 2**20 + number})
            folder = tmp_path / "runs" / run.run_id
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(sealed(run.to_json())), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "runs"), str(tmp_path / "report")],
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    ) as child:  # fmt: skip
        most: list[float] = []
        watch = threading.Thread(target=lambda: most.append(_most_mebibytes(child)))
        watch.start()
        told, _ = child.communicate(timeout=300)
        watch.join()
    assert child.returncode == 0
    measured = json.loads(told.splitlines()[-1]) | {"mebibytes": round(most[0])}
    print(measured)
    assert measured["foreign"] == []
    assert measured["figures"] == 7
    # Processor time, not wall time: other work on the machine must not fail the test.
    assert sum(measured["processor"]) < 2 * seconds
    assert 100 < measured["mebibytes"] < 1024


def _most_mebibytes(child: subprocess.Popen[str]) -> float:
    """The most that a process and those it started had at once; what several share counts once (PSS)."""
    most = 0.0
    while child.poll() is None:
        most = max(most, sum(map(_mebibytes, _with_children(child.pid))))
        time.sleep(0.05)
    return most


def _with_children(process: int) -> Iterator[int]:
    yield process
    try:
        own = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return
    for one in own:
        yield from _with_children(int(one))


def _mebibytes(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
