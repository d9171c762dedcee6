"""Mutated files of every kind that the suite reads: the right result, or a refusal; no traceback, nothing silent.

``tox -e fuzz`` runs many more cases than the usual tests: ``MASKBENCH_FUZZ`` is their number. Seeds are fixed.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import run_here, small_options, small_spec

from benchmark.backbones import build
from benchmark.backbones.weights import load_weights
from benchmark.cli.command_line import from_config
from benchmark.cli.main import main
from benchmark.data import cache
from benchmark.errors import RequestError
from benchmark.execute.checkpoint import CheckpointError, read_tensors
from benchmark.execute.stored_run import export_task, read_run
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from methods.engine.task_file import TaskFileError, read_task
from reports.records import load
from reports.report_error import ReportError
from results.seal import sealed

#: in process; a fortieth as many at the command line
CASES = int(os.environ.get("MASKBENCH_FUZZ", "180"))
SECONDS, BYTES = 10.0, 1.5 * 2**30


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


def weights(path: Path) -> Any:
    load_weights(build("small_cnn"), path)
    return True


KINDS = {
    "record": Kind("runs/mine/result.json", records, ReportError, exact=True),
    "task file": Kind("task.safetensors", stored, CheckpointError, exact=True),
    "checkpoint": Kind("checkpoint.safetensors", stored, CheckpointError, exact=True),
    "exported task": Kind("exported.safetensors", exported, TaskFileError, exact=True),
    "cache entry": Kind("", decoded, RequestError, exact=True),
    "scenario": Kind("data/mine.yaml", scenario, RequestError, exact=False),
    "configuration": Kind("plan.yaml", from_config, RequestError, exact=False),
    "image": Kind("data/one/train/cat/0.png", images, RequestError, exact=False),
    "weights": Kind("weights.pth", weights, RequestError, exact=False),
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
        (folder / "runs" / name / "result.json").write_text(json.dumps(sealed(json.loads(text)), indent=1))
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
        match generator.randrange(7):
            case 0:
                data[at : at + 1] = bytes([generator.randrange(256)])
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
    rule, faults = KINDS[kind], []
    for case in range(max(1, CASES // len(KINDS))):
        path = place_of(kind, good, case)
        whole = path.read_bytes()
        expected = rule.look(path)
        path.write_bytes(mutated(whole, random.Random(f"{kind} {case}")))
        started = time.perf_counter()
        try:
            found = rule.look(path)
            if rule.exact and found != expected:
                faults.append(f"case {case}: silently another result")
        except rule.refused as error:
            if "\n" in str(error).strip() and rule.refused is RequestError:
                faults.append(f"case {case}: more than one line: {error}")
        except Exception as error:  # what a user would see as a traceback
            faults.append(f"case {case}: {type(error).__name__}: {str(error)[:200]}")
        if (seconds := time.perf_counter() - started) > SECONDS:
            faults.append(f"case {case}: {seconds:.0f} s")
        path.write_bytes(whole)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert faults == []
    assert os.environ.get("MASKBENCH_FUZZ") is None or peak < BYTES, f"{peak / 2**30:.1f} GiB"


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
    whole, faults = path.read_bytes(), []
    for case in range(max(1, CASES // 40 // len(COMMANDS))):
        path.write_bytes(mutated(whole, random.Random(f"command {name} {case}")))
        try:
            code = main(words(good))
            if code not in (0, 2):
                faults.append(f"case {case}: exit code {code}")
            if code == 2 and capsys.readouterr().err.count("error:") > 1:
                faults.append(f"case {case}: more than one sentence")
        except Exception as error:
            faults.append(f"case {case}: {type(error).__name__}: {str(error)[:200]}")
        path.write_bytes(whole)
    assert faults == []
