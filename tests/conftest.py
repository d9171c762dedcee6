"""What all tests share: one torch thread, where real data lies, and the command line in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))

# Before anything imports torch, and for child processes too: tiny networks are fastest on one thread, and on a busy
# machine a second one only makes the first wait.
os.environ["OMP_NUM_THREADS"] = "1"


@dataclass(frozen=True)
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets ($BENCHMARK_DATA_ROOT, else ../shared/data); the test skips where it is absent."""
    root = Path(os.environ.get("BENCHMARK_DATA_ROOT", REPOSITORY.parent / "shared" / "data")).resolve()
    if not (root / "cifar100").is_dir():
        pytest.skip(f"the shared data sets are not here: no {root / 'cifar100'}")
    return root


@pytest.fixture(scope="session")
def shared_weights(shared_data: Path) -> Path:
    """The folder of real ImageNet weights beside the data; the test skips where it is absent."""
    folder = shared_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"the ImageNet weights are not here: no {folder}")
    return folder


@pytest.fixture(scope="session")
def command() -> Callable[..., Answer]:
    """``command("run", "--epochs", "0")``: the command line in a child process, away from the repository."""

    def run(*words: str | Path, cwd: Path | None = None, timeout: float = 300, **variables: str) -> Answer:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore", **variables}
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *(str(word) for word in words)],
            capture_output=True,
            text=True,
            cwd=cwd or REPOSITORY,
            env=environment,
            timeout=timeout,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session", autouse=True)
def no_weights_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """ImageNet weights that somebody downloaded here are not found: tests name those that they want."""
    with mock.patch.dict(os.environ, TORCH_HOME=str(tmp_path_factory.getbasetemp() / "torch-home")):
        yield


@pytest.fixture(scope="session", autouse=True)
def ordinary_allocator() -> Iterator[None]:
    """This process goes on giving memory back, whatever is measured in it: ``mallopt`` cannot be undone."""
    with mock.patch("benchmark.execute.allocator._libc", return_value=None):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Clocks and memory gauges are tested first, while this process is small and nothing else has run in it."""
    items.sort(key=lambda item: "test_clock" not in item.nodeid)
