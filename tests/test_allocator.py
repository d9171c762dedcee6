"""Keeping freed memory: fewer pages to clear, the same numbers. In a process of its own, since it cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import numbers, run_here, small_options, small_spec, stored

from benchmark.execute.allocator import TUNABLES, _libc, without_thread_cache
from benchmark.execute.executors.process import ProcessExecutor
from results.reader import read_record

ROOT = Path(__file__).resolve().parent.parent

CODE = """
import resource, torch
from benchmark.execute.allocator import FreedBlocks, give_back_freed_blocks, keep_freed_blocks

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

FreedBlocks.MUCH = 32 << 20
blocks = FreedBlocks()
many = [blocks.are_many()]
torch.ones(16 << 20)
many.append(blocks.are_many())
blocks.give_back()
print(*many, blocks.are_many())
"""


@pytest.mark.skipif(_libc() is None, reason="the C library is not glibc")
def test_freed_blocks_are_used_again_until_they_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    numbers, many = done.stdout.splitlines()
    handed_back, kept, fallen = (float(word) for word in numbers.split())
    assert handed_back > 10 * kept
    assert fallen > 50
    assert many == "False True False"


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


#: bytes that are not free after seven small blocks were asked for and freed
CACHED = """
import ctypes
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "a b c d e f g used free top".split()]
libc.mallinfo.restype = Mallinfo
used = []
for _ in range(3):
    used.append(libc.mallinfo().used)
    blocks = [libc.malloc(1000) for _ in range(7)]
    for block in blocks:
        libc.free(block)
print(max(used) - min(used))
"""


@pytest.mark.skipif(_libc() is None, reason="the C library is not glibc")
def test_programs_that_begin_without_a_thread_cache_free_small_blocks_at_once() -> None:
    def cached() -> int:
        return int(subprocess.run([sys.executable, "-c", CACHED], capture_output=True, text=True, check=True).stdout)

    usual = cached()
    with without_thread_cache():
        assert cached() < 1000 < 5000 < usual


@pytest.mark.parametrize("before", [None, "", "glibc.malloc.mmap_max=9", "glibc.malloc.tcache_count=3"])
def test_the_users_own_settings_of_glibc_stay(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TUNABLES, raising=False)
    if before is not None:
        monkeypatch.setenv(TUNABLES, before)
    ours = "glibc.malloc.tcache_count=0"
    expected = {None: ours, "": ours, "glibc.malloc.mmap_max=9": f"glibc.malloc.mmap_max=9:{ours}"}.get(before, before)
    with without_thread_cache():
        assert os.environ[TUNABLES] == expected
    assert os.environ.get(TUNABLES) == before


def test_the_server_of_runs_begins_without_a_thread_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str | None] = []
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: begun.append(os.environ.get(TUNABLES)))
    monkeypatch.delenv(TUNABLES, raising=False)
    ProcessExecutor().start()
    assert begun == ["glibc.malloc.tcache_count=0"]
    assert TUNABLES not in os.environ
