"""A real SLURM for tests: the one that is here, or a local one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LOCAL = REPOSITORY.parent / "shared" / "tools" / "local-slurm"


def answers(*words: str) -> bool:
    """A command of SLURM does what it should."""
    return (
        shutil.which(words[0]) is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A SLURM that takes jobs: the one that is here, else a local one that this starts where it is installed."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'maskbench[slurm]'")
    started = False
    if not answers("sinfo", "-h"):
        able = LOCAL.is_file() and os.geteuid() == 0 and (shutil.which("slurmctld") or os.environ.get("CI"))
        if not able or subprocess.run([LOCAL, "start"], capture_output=True, check=False).returncode:
            pytest.skip("no SLURM is here, and none can be started")
        started = True
    yield
    if started:
        subprocess.run([LOCAL, "stop"], capture_output=True, check=False)
