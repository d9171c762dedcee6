"""The record of a run whose process ended before the run could leave one."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from benchmark.execute.executors.interface import Job
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import run_folder
from methods.registry import METHODS
from results.atomic import write_json
from results.schema import FAILED, RunRecord
from results.seal import sealed


def record_of_the_dead(job: Job, error: str, since: float, patience: float = 0.0) -> RunRecord | None:
    """What the run wrote since then (seconds since 1970), else a failed record with ``error``, which is written.

    Args:
        patience: seconds before it is written, for a process that is about to be killed, too.

    Returns:
        None: another process has taken the run over.
    """
    time.sleep(patience)
    folder = run_folder(job.options.results, *job.spec.ids)
    try:
        with locked(folder.path / ".lock"):
            found = folder.read()
            finished = found is not None and found.finished
            if finished and folder.record.stat().st_mtime >= since:
                folder.forget_checkpoints()
                return found
            now = datetime.now(UTC).isoformat(timespec="seconds")
            provenance = {"started": now, "finished": now}
            facts = METHODS[job.spec.method].facts(job.spec.settings)
            record = RunRecord(folder.run_id, FAILED, job.spec.to_json(), provenance, error=error, method=facts)
            if not finished:  # a record that --force was to replace stays
                with suppress(OSError):
                    write_json(folder.record, sealed(record.to_json()))
    except BlockingIOError:
        return None
    return record
