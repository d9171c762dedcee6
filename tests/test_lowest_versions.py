"""The file of the lowest versions is what pyproject.toml says, and no tested set holds a version that is excluded."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[.*\])?(?:([<>=!]=)([\d.]+))?")


def pins(name: str) -> dict[str, str]:
    """Versions by package of a constraints file."""
    found = {}
    for line in (REPOSITORY / name).read_text().splitlines():
        if line and not line.startswith("#"):
            package, _, version = line.partition("==")
            found[package.lower()] = version
    return found


def bounds() -> dict[str, str]:
    """Lower bounds by package, of what is needed to run, and of what is needed to run the fast tests."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    found = {}
    for item in wanted:
        matched = REQUIREMENT.match(item)
        assert matched is not None, item
        found[matched[1].lower()] = matched[3]
    ours = {REQUIREMENT.match(item)[1].lower() for item in project["dependencies"]}  # type: ignore[index]
    return {name: bound for name, bound in found.items() if name in {*ours, "pytest", "pytest-timeout", "hypothesis"}}


def test_every_dependency_has_a_lower_bound_and_the_file_has_it() -> None:
    lowest, declared = pins("constraints-lowest.txt"), bounds()
    assert lowest.keys() == declared.keys()
    for package, bound in declared.items():
        assert bound is not None, f"{package} has no lower bound"
        assert f"{lowest[package]}.".startswith(f"{bound}."), package  # 77.0.3 is the first of 77


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_torch_and_torchvision_belong_together(name: str) -> None:
    found = pins(name)
    torch, vision = (found[package].split(".")[1] for package in ("torch", "torchvision"))
    assert int(vision) == int(torch) + 15
    assert torch != "13"
