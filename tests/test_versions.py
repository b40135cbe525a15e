"""The dependencies that pyproject.toml declares work: its lower bounds here, the newest in every fresh installation."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from versions import ROOT, lower_bounds


def test_every_dependency_declares_the_lowest_version_that_works():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    for version in ("3.11", "3.12", "3.13", "3.14"):
        assert [c.partition("==")[0] for c in lower_bounds(version)] == sorted(names)


@pytest.mark.slow
def test_the_lowest_versions_work():
    subprocess.run([sys.executable, ROOT / "tests" / "versions.py", "lowest"], check=True)
