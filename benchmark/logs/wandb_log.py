"""``--log wandb``: runs of Weights & Biases.

Offline unless ``WANDB_MODE`` says otherwise or ``WANDB_API_KEY`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.logs.run_log import Point, RunLog

PROJECT = "maskbench"


class WandbLog(RunLog):
    """A run of W&B with the spec as its configuration."""

    def __init__(self, folder: Path, run_id: str, fresh: bool, spec: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        usual = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        mode: Any = os.environ.get("WANDB_MODE", usual)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            name=f"{spec['scenario']} {spec['method']} s{spec['seed']}",
            group=str(spec["scenario"]),
            dir=str(folder),
            config=dict(spec),
            resume="never" if fresh and mode == "offline" else "allow",
            reinit="create_new",
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def add(self, point: Point) -> None:
        """See ``RunLog.add``."""
        self._run.log({**point.values, "task": point.task}, step=point.step)

    def finish(self, values: Mapping[str, float], status: str, step: int) -> None:
        """See ``RunLog.finish``."""
        self._run.summary.update({**values, "status": status})
        self._run.finish(exit_code=0 if status == "finished" else 1)

    def close(self) -> None:
        """See ``RunLog.close``."""
        self._run.finish()
