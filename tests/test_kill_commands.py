"""kill -9 of report, compare, export, check and perf: the next command leaves what an undisturbed one leaves.

Usually a few kills of each; ``MASKBENCH_KILLS`` is their number in the exhaustive test. Seeds are fixed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import run_here, small_options, small_spec

from benchmark.cli.main import main
from benchmark.data import cache
from results import temporary

#: of every command, in the exhaustive test
KILLS = int(os.environ.get("MASKBENCH_KILLS", "10"))


@dataclass(frozen=True)
class Place:
    """Where the commands read (``given``, the same for all trials), and where one trial writes."""

    given: Path
    own: Path


PERF = ("perf", "--repeats", "1", "--threads", "1", "--device", "cpu")
#: the command line of each, writing below ``own / "out"``
COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "report": lambda it: ["report", "--results", f"{it.given}/runs", "--out", f"{it.own}/out"],
    "compare": lambda it: ["report", "--compare", f"{it.given}/runs", f"{it.given}/runs", "--out", f"{it.own}/out"],
    "export": lambda it: [
        "export", str(next((it.given / "runs").glob("digits-ksm-*"))), "--task", "2", "--to", f"{it.own}/out/task.st",
        "--backbone-to", f"{it.own}/out/net.st",
    ],
    "check": lambda it: ["check", "--scenario", f"{it.given}/mine.yaml"],
    "perf": lambda it: [*PERF, "--method", "ksm", "--peers", "none", "--batch-size", "8", "--steps", "1",
                        "--set", "backbone.width=0.25", "--out", f"{it.own}/out"],
    "perf --measuring": lambda it: [*PERF, "--measuring", "--method", "head-only", "--epochs", "1",
                                    "--out", f"{it.own}/out"],
}  # fmt: skip
#: what these write holds times, which are never the same
TIMED = ("perf", "perf --measuring")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its weights, and a scenario whose images take a moment to decode."""
    folder = tmp_path_factory.mktemp("given")
    run_here(small_spec("ksm"), small_options(folder / "runs"))
    generator = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 30)):
        for name in ("cat", "dog"):
            place = folder / "one" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    (folder / "mine.yaml").write_text(
        "name: mine\nbackbone: small_cnn\nimage_size: 64\ntasks: [{name: one, folder: one}]\n"
    )
    return folder


def start(name: str, place: Place, dies_with: int | None = None, *, helper: bool = False) -> int:
    """The command in a forked process, whose number is returned; with ``dies_with`` it kills itself as soon as it has
    made so many temporary files and folders, with ``helper`` the process that helps it does."""
    for folder in ("out", "tmp", "cache"):
        (place.own / folder).mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    process = os.fork()
    with suppress(OSError):  # whichever of the two comes first
        os.setpgid(process, process)  # a group of its own, to see what it leaves running
    if process:
        return process
    code = 99
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.environ |= {"TMPDIR": str(place.own / "tmp"), cache.VARIABLE: str(place.own / "cache")}
        tempfile.tempdir = None
        cache._vouched.clear()
        if dies_with is not None:
            made, made_so_far, own = temporary._made, 0, os.getpid()

            def mortal(make: Callable[[], tuple[str, int]]) -> tuple[str, int]:
                nonlocal made_so_far
                found = made(make)
                made_so_far += 1
                if made_so_far == dies_with and (os.getpid() != own) == helper:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            temporary._made = mortal
        code = main(COMMANDS[name](place))
    finally:
        os._exit(code)


def outcome(process: int) -> int:
    """The exit code of the process, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def ends(process: int) -> bool:
    """Whatever the command started ends with it, soon."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(process, signal.SIGKILL)
    return False


def written(place: Place) -> dict[str, bytes]:
    """Everything below what the command writes to: its output, the cache, and the folder for temporary files."""
    return {str(path.relative_to(place.own)): path.read_bytes() for path in place.own.rglob("*") if path.is_file()}


def left(place: Place) -> list[str]:
    """What only a killed process leaves: temporary files, also within folders."""
    names = [str(path.relative_to(place.own)) for path in place.own.rglob("*")]
    return [name for name in names if ".part" in name or name.startswith("tmp/")]


@dataclass
class Toll:
    """What came of the kills of one command."""

    kills: int = 0
    left: int = 0  #: after how many something was left for the next command

    def __str__(self) -> str:
        return f"{self.kills} kills, after {self.left} something was left; after the next command nothing"


def trials(name: str, given: Path, folder: Path, timed: int, counted: int) -> Toll:
    """Kill the command at ``timed`` random moments, and with ``counted`` random temporary files just made."""
    calm, generator, toll = Place(given, folder / "calm"), random.Random(name), Toll()
    started = time.monotonic()
    assert outcome(start(name, calm)) == 0
    seconds = time.monotonic() - started
    expected = written(calm)
    assert left(calm) == []
    for turn in range(timed + counted):
        place = Place(given, folder / f"turn{turn}")
        if turn < timed:
            process = start(name, place)
            time.sleep(generator.uniform(0, 0.9 * seconds))
            os.kill(process, signal.SIGKILL)
        else:
            most = max(2, sum(path.startswith("out/") for path in expected) // 2)  # another process makes the rest
            process = start(name, place, dies_with=generator.randint(1, most))
        if outcome(process) == -signal.SIGKILL:
            toll.kills += 1
        assert ends(process), "a process outlived the command that started it"
        toll.left += bool(left(place))
        assert outcome(start(name, place)) == 0
        assert left(place) == []
        found = written(place)
        assert found.keys() == expected.keys()
        if name not in TIMED:
            different = [path for path in found if found[path] != expected[path] and "digests/" not in path]
            assert different == []
    return toll


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in TIMED])
def test_a_few_kills_leave_nothing_behind(name: str, given: Path, tmp_path: Path) -> None:
    toll = trials(name, given, tmp_path, timed=name != "report", counted=1 if name == "report" else 2)  # it is slow
    assert toll.kills >= 1
    assert toll.left >= 1, "nothing was ever left: the kills came at no moment that matters"


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_many_kills_leave_nothing_behind(
    name: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toll = trials(name, given, tmp_path, timed=KILLS // 2, counted=KILLS - KILLS // 2)
    with capsys.disabled():
        print(f"\n{name}: {toll}")
    assert toll.kills >= KILLS // 2
    assert toll.left >= 1


def test_what_a_process_is_at_stays(tmp_path: Path) -> None:
    """Of a living process nothing is removed, whatever its age; and nobody else's files are."""
    ours = tmp_path / ".one.txt.abcdefgh.part"
    other = tmp_path / ".movie.part"
    ours.write_text("")
    other.write_text("of a browser")
    with temporary.temporary_file(tmp_path / "one.txt") as file, temporary.temporary_folder(tmp_path / "two") as folder:
        assert not ours.exists(), "nobody held it"
        os.utime(file, (0, 0))
        temporary.sweep_below(tmp_path)
        temporary.sweep_beside(tmp_path / "one.txt")
        assert file.exists()
        assert folder.exists()
    assert not file.exists()
    assert not folder.exists()
    assert other.exists()


def test_a_scratch_folder_outlives_no_process(tmp_path: Path) -> None:
    (tmp_path / "maskbench-abcdefgh" / "deep").mkdir(parents=True)
    (tmp_path / "maskbench-cache-0").mkdir()
    with temporary.scratch_folder(tmp_path) as one, temporary.scratch_folder(tmp_path) as two:
        assert {path.name for path in tmp_path.iterdir()} == {one.name, two.name, "maskbench-cache-0"}
    assert [path.name for path in tmp_path.iterdir()] == ["maskbench-cache-0"]


def test_a_forked_child_removes_nothing_of_its_parent(tmp_path: Path) -> None:
    """It has a copy of all that the parent is in the middle of, and may come to the end of it."""
    scratch, writing = temporary.scratch_folder(tmp_path), temporary.temporary_file(tmp_path / "one.txt")
    folder, file = scratch.__enter__(), writing.__enter__()
    process = os.fork()
    if not process:
        try:
            writing.__exit__(None, None, None)
            scratch.__exit__(None, None, None)
        finally:
            os._exit(0)
    assert outcome(process) == 0
    assert folder.exists()
    assert file.exists()
    temporary.sweep_below(tmp_path)
    assert file.exists(), "the lock is still the parent's"
    writing.__exit__(None, None, None)
    scratch.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    (tmp_path / ".one.abcdefgh.part").symlink_to(tmp_path / "kept")
    temporary.sweep_below(tmp_path)
    assert (tmp_path / "kept" / "file").read_text() == "kept"


def test_a_killed_report_leaves_no_process(given: Path, tmp_path: Path) -> None:
    """Half of the figures are drawn by a second process, where there is a second core."""
    place = Place(given, tmp_path)
    process = start("report", place)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").rglob("*.svg")) and time.monotonic() < deadline:
        time.sleep(0.02)  # it is drawing
    os.kill(process, signal.SIGKILL)
    assert outcome(process) == -signal.SIGKILL
    assert ends(process)


def test_a_report_whose_second_process_is_killed_is_whole(given: Path, tmp_path: Path) -> None:
    """As where there is not memory enough for two."""
    calm, place = Place(given, tmp_path / "calm"), Place(given, tmp_path / "one")
    assert outcome(start("report", calm)) == 0
    assert outcome(start("report", place, dies_with=2, helper=True)) == 0
    assert written(place).items() >= written(calm).items()
