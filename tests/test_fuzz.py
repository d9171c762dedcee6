"""Mutated files of every kind that the suite reads: the right result, or a refusal; no traceback, nothing silent.

``tox -e fuzz`` runs many more cases than the usual tests: ``MASKBENCH_FUZZ`` is their number. Seeds are fixed. It
prints a table, and writes it to the file that ``MASKBENCH_FUZZ_TABLE`` names.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from small_runs import run_here, small_options, small_spec
from step_rows import row_of

from benchmark.backbones import build
from benchmark.backbones.weights import load_weights
from benchmark.cli.command_line import from_config
from benchmark.cli.main import main
from benchmark.data import cache
from benchmark.errors import RequestError
from benchmark.execute.checkpoint import CheckpointError, read_tensors
from benchmark.execute.stored_run import export_task, read_run
from benchmark.perf.text_tables import SETTING, as_csv
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from methods.engine.task_file import TaskFileError, read_task
from reports.records import load
from reports.report_error import ReportError
from reports.step_times import load_steps
from results.seal import SEAL, sealed, sealed_table
from results.units import in_units

#: in process; a fortieth as many at the command line
CASES = int(os.environ.get("MASKBENCH_FUZZ", "180"))
#: processor seconds that one case may take, and bytes of the whole process
SECONDS, BYTES = 10.0, 1.5 * 2**30


@dataclass
class Tally:
    """What came of the cases of one kind."""

    what: str
    right: int = 0  #: read; where the file vouches for itself, as it was written
    refused: int = 0
    tracebacks: int = 0
    silent: int = 0  #: read as something else than was written, though the file vouches for itself
    slowest: float = 0.0  #: processor seconds of one case
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        cases = self.right + self.refused + self.tracebacks + self.silent
        return (
            f"{self.what:<35} {cases:>6} {self.right:>6} {self.refused:>8} {self.tracebacks:>11} {self.silent:>7} "
            f"{self.slowest:>9.2f}"
        )


HEAD = f"{'kind':<35} {'cases':>6} {'right':>6} {'refused':>8} {'tracebacks':>11} {'silent':>7} {'slowest s':>9}"
TALLIES: list[Tally] = []


@pytest.fixture(scope="module", autouse=True)
def table(pytestconfig: pytest.Config) -> Iterator[None]:
    """Of all cases, printed at the end of a long run."""
    yield
    if "MASKBENCH_FUZZ" not in os.environ:
        return
    lines = [HEAD, *(tally.line() for tally in TALLIES), f"peak memory of the process: {in_units(peak_memory())}"]
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + "\n".join(lines))
    if name := os.environ.get("MASKBENCH_FUZZ_TABLE"):
        Path(name).write_text("\n".join(lines) + "\n")


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Kind:
    """Files of one kind: which one is mutated, what reading it comes to, and how it may be refused."""

    file: str
    look: Callable[[Path], Any]
    refused: type[Exception] | tuple[type[Exception], ...]
    exact: bool  #: the file vouches for itself: what is read is what was written


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in tensors.items()}


def stored(path: Path) -> Any:
    tensors, about = read_tensors(path)
    return plain(tensors), about


def exported(path: Path) -> Any:
    task = read_task(path)
    return plain(dict(task.tensors)), dict(task.about)


def records(path: Path) -> Any:
    """The neighbour is there whatever happens to the other, which is left out by name or as it was written."""
    found = load(path.parent.parent)
    others = [record.to_json() for record in found.all if record.run_id != "neighbour"]
    assert len(found.all) - len(others) == 1
    if found.left_out:
        assert len(found.left_out) == 1
        raise ReportError(found.left_out[0])
    return others


def decoded(path: Path) -> Any:
    """Of the cache entry that lies around ``path``."""
    cache._vouched.clear()
    os.environ[cache.VARIABLE] = str(path.parent.parent.parent)
    entry = cache.open_or_build("fuzz", "f" * 64, entry_of)
    return entry.arrays["images"].tolist(), dict(entry.meta), dict(entry.digests)


def entry_of(create: cache.Create) -> dict[str, Any]:
    create("images", (20, 4, 4), np.uint8)[:] = 7
    return {"mean": [0.5]}


def scenario(path: Path) -> Any:
    return load_scenario(str(path)).task_names


def images(path: Path) -> Any:
    os.environ[cache.VARIABLE] = str(path.parents[4] / "cache")
    read = load_scenario(str(path.parents[3] / "mine.yaml")).read(None, [1], silent)
    return len(read.tasks[0].train)


def shards(path: Path) -> Any:
    os.environ[cache.VARIABLE] = str(path.parents[1] / "cache")
    read = load_scenario(str(path.parent / "mine.yaml")).read(None, [1], silent)
    return len(read.tasks[0].train)


def steps(path: Path) -> Any:
    found, left_out = load_steps(path.parent.parent)
    if left_out:
        raise ReportError(left_out[0])
    return found


def weights(path: Path) -> Any:
    load_weights(build("small_cnn"), path)
    return True


KINDS = {
    "record": Kind("runs/mine/result.json", records, ReportError, exact=True),
    "record of an earlier version": Kind("before/mine/result.json", records, ReportError, exact=False),
    "task file": Kind("task.safetensors", stored, CheckpointError, exact=True),
    "checkpoint": Kind("checkpoint.safetensors", stored, CheckpointError, exact=True),
    "exported task": Kind("exported.safetensors", exported, TaskFileError, exact=True),
    "cache entry": Kind("", decoded, RequestError, exact=True),
    "scenario": Kind("data/mine.yaml", scenario, RequestError, exact=False),
    "configuration": Kind("plan.yaml", from_config, RequestError, exact=False),
    "image": Kind("data/one/train/cat/0.png", images, RequestError, exact=False),
    "weights": Kind("weights.pth", weights, RequestError, exact=False),
    "parquet": Kind("shards/train.parquet", shards, RequestError, exact=False),
    "table of step times": Kind("runs/perf/step.csv", steps, ReportError, exact=True),
    "safetensors": Kind("weights.safetensors", weights, RequestError, exact=False),
}
#: what breaks readers of text
WORDS = (b"\x00", b"{" * 2000, b"[" * 2000, b"9" * 400, b"-1e999", b"NaN", b"\xff\xfe", b"&a [*a]", b"../")
#: files of a cache entry, by turns
ENTRY = ("entry.json", "images.npy")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a sound file of every kind."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("fuzz")
    before = os.environ.get(cache.VARIABLE)
    spec = small_spec("ksm")
    run_here(spec, small_options(folder / "made"))
    made = folder / "made" / spec.run_id
    for name in ("mine", "neighbour"):
        (folder / "runs" / name).mkdir(parents=True)
        text = (made / "result.json").read_text().replace(f'"{spec.run_id}"', f'"{name}"')
        value = sealed(json.loads(text))
        (folder / "runs" / name / "result.json").write_text(json.dumps(value, indent=1))
        (folder / "before" / name).mkdir(parents=True)
        del value[SEAL]
        (folder / "before" / name / "result.json").write_text(json.dumps(value, indent=1))
    shutil.copy(next(iter(sorted((made / "tasks").glob("task002*")))), folder / "task.safetensors")
    stored_run = read_run(made)
    export_task(stored_run, stored_run.record.tasks[1], folder / "exported.safetensors")
    shutil.copy(made / "tasks" / "shared.safetensors", folder / "checkpoint.safetensors")
    os.environ[cache.VARIABLE] = str(folder / "entries")
    cache.open_or_build("fuzz", "f" * 64, entry_of)
    for split in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            place = folder / "data" / "one" / split / name
            place.mkdir(parents=True)
            for index in range(2):
                Image.new("RGB", (8, 8), (50 * number, 10 * index, 3)).save(place / f"{index}.png")
    (folder / "data" / "mine.yaml").write_text(
        "name: mine\nbackbone: small_cnn\nimage_size: 8\nbatch_size: 16\naugmentation: {flip: true}\n"
        "settings: {masked: {lr: 1e-3, milestones: [2, 3]}}\ntasks:\n  - {name: one, folder: one}\n"
    )
    (folder / "shards").mkdir()
    for split in ("train", "test"):
        files = sorted((folder / "data" / "one" / split).rglob("*.png"))
        cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
        shard = pa.table({"image": cells, "label": [file.parent.name for file in files]})
        pq.write_table(shard, folder / "shards" / f"{split}.parquet", compression="zstd")
    (folder / "shards" / "mine.yaml").write_text(
        "name: mine\nbackbone: small_cnn\nimage_size: 8\n"
        "tasks: [{name: one, train: train.parquet, test: test.parquet}]\n"
    )
    (folder / "runs" / "perf").mkdir()
    measured = as_csv([row_of("ksm", 2.5), row_of("packnet", 3.25)], dict.fromkeys(SETTING, "1"))
    (folder / "runs" / "perf" / "step.csv").write_text(sealed_table(measured))
    (folder / "plan.yaml").write_text("method: [ksm, cpg]\nseed: [0, 1]\nepochs: 3\nset: {ksm.lr: [1e-3, 2e-3]}\n")
    torch.save(build("small_cnn").state_dict(), folder / "weights.pth")
    save_file(build("small_cnn").state_dict(), folder / "weights.safetensors")
    yield folder
    if before is None:
        os.environ.pop(cache.VARIABLE)
    else:
        os.environ[cache.VARIABLE] = before


def mutated(content: bytes, generator: random.Random) -> bytes:
    """One to three changes, as disks, networks, editors and ill will make them."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        size = max(len(data), 1)
        at, length = generator.randrange(size), generator.randint(1, max(1, size // 8))
        match generator.randrange(8):
            case 0:
                if data:
                    data[at] ^= 1 << generator.randrange(8)
            case 1:
                data[at : at + length] = bytes(length)
            case 2:
                del data[at:]
            case 3:
                data[at:at] = generator.randbytes(length)
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                del data[at : at + length]
            case 6:
                data[at : at + 1] = generator.choice(b"0123456789abc").to_bytes()
            case _:
                data[at:at] = generator.choice(WORDS)
    return bytes(data)


def place_of(kind: str, good: Path, case: int) -> Path:
    if kind != "cache entry":
        return good / KINDS[kind].file
    (folder,) = (good / "entries" / "decoded").glob("fuzz-*")
    return folder / ENTRY[case % len(ENTRY)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_right_or_refused(kind: str, good: Path) -> None:
    rule, tally = KINDS[kind], Tally(kind)
    TALLIES.append(tally)
    for case in range(-(-CASES // len(KINDS))):
        path = place_of(kind, good, case)
        whole = path.read_bytes()
        expected = rule.look(path)
        path.write_bytes(mutated(whole, random.Random(f"{kind} {case}")))
        started = time.process_time()
        try:
            found = rule.look(path)
            if rule.exact and found != expected:
                tally.silent += 1
                tally.faults.append(f"case {case}: silently another result")
            else:
                tally.right += 1
        except rule.refused as error:
            tally.refused += 1
            if "\n" in str(error).strip() and rule.refused is RequestError:
                tally.faults.append(f"case {case}: more than one line: {error}")
        except Exception as error:  # what a user would see as a traceback
            tally.tracebacks += 1
            tally.faults.append(f"case {case}: {type(error).__name__}: {str(error)[:200]}")
        tally.slowest = max(tally.slowest, time.process_time() - started)
        path.write_bytes(whole)
    assert tally.faults == []
    assert tally.slowest < SECONDS
    assert os.environ.get("MASKBENCH_FUZZ") is None or peak_memory() < BYTES, in_units(peak_memory())


COMMANDS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "scenario": ("scenario", lambda good: ["check", "--scenario", str(good / "data" / "mine.yaml")]),
    "image": ("image", lambda good: ["check", "--scenario", str(good / "data" / "mine.yaml")]),
    "configuration": ("configuration", lambda good: ["run", "--config", str(good / "plan.yaml"), "--tasks", "99"]),
    "record": ("record", lambda good: ["report", "--results", str(good / "runs"), "--out", str(good / "page")]),
    "repeat": ("record", lambda good: ["run", "--from-record", str(good / "runs/mine/result.json"), "--tasks", "1"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mutated_file_at_the_command_line(
    name: str, good: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, words = COMMANDS[name]
    monkeypatch.setenv(cache.VARIABLE, str(good / "cache"))
    path = good / KINDS[kind].file
    whole, tally = path.read_bytes(), Tally(f"at the command line: {name}")
    TALLIES.append(tally)
    for case in range(max(1, CASES // 40 // len(COMMANDS))):
        path.write_bytes(mutated(whole, random.Random(f"command {name} {case}")))
        started = time.process_time()
        try:
            code = main(words(good))
            tally.right += code == 0
            tally.refused += code == 2
            if code not in (0, 2):
                tally.silent += 1
                tally.faults.append(f"case {case}: exit code {code}")
            if code == 2 and capsys.readouterr().err.count("error:") > 1:
                tally.faults.append(f"case {case}: more than one sentence")
        except Exception as error:
            tally.tracebacks += 1
            tally.faults.append(f"case {case}: {type(error).__name__}: {str(error)[:200]}")
        tally.slowest = max(tally.slowest, time.process_time() - started)
        path.write_bytes(whole)
    assert tally.faults == []
