"""Prints what five methods learn on a few digits, as digests: the content of learned_digests.json.

    python tests/learned_digests.py > tests/learned_digests.json

The process takes the smallest instruction set that all x86-64 processors share, before torch is imported: with it sums
have one order, whatever processor or version of torch adds them up.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

#: what ATen, oneDNN and MKL are told; and one thread
SMALLEST = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}


def processor() -> str:
    """``AuthenticAMD 26 2``: maker, family and model, as Linux tells them."""
    told: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    return " ".join(told.get(name, "?") for name in ("vendor_id", "cpu family", "model"))


def learned() -> dict[str, dict[str, str]]:
    """By method and task, the digest of what it keeps."""
    from small_runs import FIVE, run_here, small_options, small_spec

    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for method in FIVE:
            record, _ = run_here(small_spec(method, epochs=3), small_options(Path(folder)))
            assert record.finished, record.error
            found[method] = record.learned_sha256
    return found


def main() -> None:
    """One JSON object on standard output."""
    os.environ |= SMALLEST
    repository = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(repository), str(repository / "tests")]
    import torch

    made: dict[str, Any] = {
        "torch": torch.__version__.partition("+")[0],
        "machine": platform.machine(),
        "processors": [processor()],
        "learned": learned(),
    }
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
