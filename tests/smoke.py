"""``python -m benchmark smoke`` in a checkout: the data lie beside it, in ``../shared/data``, where they are there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmark.cli.main import main  # noqa: E402

if __name__ == "__main__":
    beside = REPOSITORY.parent / "shared" / "data"
    if beside.is_dir():
        os.environ.setdefault("BENCHMARK_DATA_ROOT", str(beside))
    sys.exit(main(["smoke", *sys.argv[1:]]))
