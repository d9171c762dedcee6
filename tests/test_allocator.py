"""Keeping freed memory: fewer pages to clear, the same numbers. In a process of its own, since it cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import numbers, run_here, small_options, small_spec, stored

from benchmark.execute.allocator import _libc
from results.reader import read_record

ROOT = Path(__file__).resolve().parent.parent

CODE = """
import resource, torch
from benchmark.execute.allocator import give_back_freed_blocks, keep_freed_blocks

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def again():
    "Pages that had to be cleared for 64 MiB, at best: at first small objects get in the way."
    cleared = []
    for _ in range(10):
        before = pages()
        torch.ones(16 << 20)
        cleared.append(pages() - before)
    return min(cleared)

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

handed_back = again()
assert keep_freed_blocks()
kept = again()
held = resident()
give_back_freed_blocks()
print(handed_back, kept, held - resident())
"""


@pytest.mark.skipif(_libc() is None, reason="the C library is not glibc")
def test_freed_blocks_are_used_again_until_they_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    handed_back, kept, fallen = (float(word) for word in done.stdout.split())
    assert handed_back > 10 * kept
    assert fallen > 50


@pytest.mark.skipif(_libc() is None, reason="the C library is not glibc")
def test_results_do_not_change_by_a_bit(tmp_path: Path) -> None:
    spec = small_spec("cpg", tasks=2)
    ordinary, _ = run_here(spec, small_options(tmp_path / "here"))
    code = (
        "import sys; from pathlib import Path; from small_runs import *\n"
        "from benchmark.execute.allocator import keep_freed_blocks\n"
        "assert keep_freed_blocks(); run_here(small_spec('cpg', tasks=2), small_options(Path(sys.argv[1])))"
    )
    paths = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "kept")], cwd=ROOT, env=paths, check=True)
    assert numbers(read_record(tmp_path / "kept" / spec.run_id / "result.json")) == numbers(ordinary)
    assert stored(tmp_path / "kept" / spec.run_id) == stored(tmp_path / "here" / spec.run_id)
