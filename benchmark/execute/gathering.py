"""``merge``: the runs of several results folders in one; what lies there twice is compared, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import RequestError
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import CACHE, RunFolder, require_writable
from benchmark.plan.spec import RunSpec
from results.atomic import replacing
from results.locations import results_folders, trials_folder
from results.reader import read_record
from results.schema import RECORD_NAME, RunRecord, SchemaError

#: of a run, what merging leaves behind: what is of use to a run under way only
_OF_THE_WAY = ("checkpoint", ".lock", ".repeat")


#: what tells a run's folder, finished or not
_OF_A_RUN = (RECORD_NAME, "events.jsonl")


@dataclass
class Gathered:
    """What became of every run, by its id."""

    copied: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)  #: were there already, the very record
    twice: list[str] = field(default_factory=list)  #: carried out twice with equal numbers, one sentence each
    conflicts: list[str] = field(default_factory=list)  #: carried out twice with other numbers, one sentence each
    left_out: list[str] = field(default_factory=list)  #: one sentence each


def gather(sources: Sequence[Path], target: Path) -> Gathered:
    """Copy the finished and failed runs below ``sources`` into ``target``; the first of two finished ones stays.

    A target that lies below a source is none of its folders; trials of ``tune`` are no runs. Stopped in the middle, the
    same call goes on.

    Raises:
        RequestError: a source does not exist, holds no run or is the target; the target cannot be written.
    """
    folders = [folder for source in sources for folder in _folders(source, target)]
    require_writable(target)
    gathered = Gathered()
    for folder in folders:
        for run in sorted(path for path in folder.iterdir() if path.is_dir()):
            _take(run, target, gathered)
        _take_cache(folder / CACHE, target / CACHE)
    return gathered


def _folders(source: Path, target: Path) -> list[Path]:
    """The results folders of a source, without the target and without folders of trials."""
    if not source.is_dir():
        raise RequestError(f"There is no results folder {source}.")
    found = results_folders(source)
    if not any(os.path.lexists(run / name) for folder in found for run in _below(folder) for name in _OF_A_RUN):
        raise RequestError(f"{source} holds no run; name a results folder, or a folder of results folders.")
    trials = {trials_folder(folder) for folder in found}
    others = [folder for folder in found if folder not in trials and folder.resolve() != target.resolve()]
    if not others:
        raise RequestError(f"--to {target} is one of the folders to merge; name another.")
    return others


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _take(run: Path, target: Path, gathered: Gathered) -> None:
    if not (run / RECORD_NAME).exists():
        if (run / "events.jsonl").exists():
            gathered.left_out.append(f"{run} has not finished; give its command again there")
        return
    try:
        record = read_record(run / RECORD_NAME)
    except SchemaError as error:
        gathered.left_out.append(f"{run}: {error}")
        return
    if record.is_trial:
        gathered.left_out.append(f"{run} is a trial of tune, and no run")
        return
    place = _place(run.name, record, target)
    try:
        with locked(place.path / ".lock"):
            there = place.read()
            under_way = place.checkpoint.exists() or place.inner_checkpoint.exists()
            if there is None and under_way and not record.finished:
                gathered.left_out.append(f"{run} failed, and goes on from a checkpoint in {target}; that stays")
            elif there is None or (record.finished and not there.finished):
                _copy(run, place)
                if record.finished:
                    place.forget_checkpoints()
                gathered.copied.append(run.name)
            else:
                _compare(run, record, there, gathered)
    except BlockingIOError:
        gathered.left_out.append(f"{run}: another process is at this run in {target}")


def _place(name: str, record: RunRecord, target: Path) -> RunFolder:
    """Where the run lies in ``target``: under a name of another version of this package where it is finished there."""
    try:
        ids = RunSpec.from_json(record.spec).ids
    except (TypeError, ValueError, KeyError):  # of a method that is not here
        ids = ()
    others = [RunFolder(target / other) for other in ids if other != name] if name in ids else []
    return next((place for place in others if place.read_finished() is not None), RunFolder(target / name))


def _compare(run: Path, record: RunRecord, there: RunRecord, gathered: Gathered) -> None:
    """Say how a record relates to that of the same run which stays."""
    if record.to_json() == there.to_json():
        gathered.same.append(run.name)
    elif not record.finished:
        what = "finished" if there.finished else "failed, too,"
        gathered.left_out.append(f"{run} failed, and {what} in another folder: that record stays")
    elif differences := _differences(record, there):
        gathered.conflicts.append(f"{run} is not what another folder has of it ({', '.join(differences)})")
    else:
        gathered.twice.append(f"{run} was carried out in another folder, too, with the same numbers")


def _differences(record: RunRecord, there: RunRecord) -> list[str]:
    """In what two finished records of one run differ, times and places apart; in words."""
    found = []
    if record.provenance.get("data_fingerprint") != there.provenance.get("data_fingerprint"):
        found.append("other data")
    if record.accuracy_matrix != there.accuracy_matrix:
        found.append(f"mean accuracy {record.mean_accuracy:.4f} and {there.mean_accuracy:.4f}")
    if record.learned_sha256 != there.learned_sha256:
        found.append("other learned weights")
    if found:
        names = [(one.provenance.get("device") or {}).get("name") for one in (record, there)]
        found += [f"on {names[0]} and {names[1]}"] if names[0] != names[1] else []
    return found


def _copy(run: Path, place: RunFolder) -> None:
    """Every file of a run, its record last: without one the run counts as unfinished, and is copied again."""
    paths = [path for path in sorted(run.rglob("*")) if path.is_file() and not _is_of_the_way(path)]
    record = run / RECORD_NAME
    for path in [path for path in paths if path != record] + [record]:
        with replacing(place.path / path.relative_to(run)) as temporary:
            shutil.copyfile(path, temporary)


def _is_of_the_way(path: Path) -> bool:
    return path.name.startswith(_OF_THE_WAY) or path.name.endswith(".part")


def _take_cache(source: Path, target: Path) -> None:
    """Networks and goals that runs share, so that further runs need not train them again."""
    for path in sorted(source.glob("*/*")):
        place = target / path.parent.name / path.name
        if path.suffix in (".safetensors", ".json") and not path.name.startswith(".") and not place.exists():
            with replacing(place) as temporary:
                shutil.copyfile(path, temporary)
