"""Runs a short suite with the lowest and the newest dependencies that pyproject.toml allows.

    python tests/versions.py                          # this Python, both ends
    python tests/versions.py lowest                   # one end
    python tests/versions.py --python python3.13      # other Pythons; repeatable

Each end gets a copy of the project and a virtual environment of its own in a temporary folder, with empty caches.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SUITE = ["tests/test_math_of_nn.py", "tests/test_tiny.py"]
TOOLS = ["pytest", "pytest-xdist", "hypothesis", "mpmath", "jsonschema"]  # what the suite needs beside the dependencies: the newest
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.egg-info", ".*_cache", "build")


def lower_bounds(python_version):
    """Constraints that pin each dependency to the lowest version declared for a Python version, such as '3.13'."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    applying = [r for r in requirements if r.marker is None or r.marker.evaluate({"python_version": python_version})]
    return [f"{r.name}=={s.version}" for r in applying for s in r.specifier if s.operator == ">="]


def run_suite(python, end):
    """Installs one end for an interpreter and runs the suite there. Raises CalledProcessError where a step fails."""
    asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="graphexec-versions-") as folder:
        copy, environment = Path(folder, "project"), Path(folder, "venv")
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(lower_bounds(version) if end == "lowest" else []), encoding="utf-8")
        subprocess.run([python, "-m", "venv", environment], check=True)
        own = environment / "bin" / "python"
        install = [own, "-m", "pip", "install", "--quiet", "--upgrade", "--constraint", constraints, "--editable", copy, *TOOLS]
        subprocess.run(install, check=True)
        print(f"Python {version}, {end}:", *constraints.read_text(encoding="utf-8").split(), flush=True)
        caches = {"GRAPHEXEC_CACHE_DIR": str(Path(folder, "cache")), "HOME": folder}
        subprocess.run([own, "-m", "pytest", *SUITE], check=True, cwd=copy, env={**os.environ, **caches})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ends", nargs="*", choices=["lowest", "newest", []], help="both unless one is named")
    parser.add_argument("--python", action="append", metavar="EXECUTABLE", help="an interpreter; repeatable; this one unless given")
    options = parser.parse_args()
    for python in options.python or [sys.executable]:
        for end in options.ends or ["lowest", "newest"]:
            run_suite(python, end)


if __name__ == "__main__":
    main()
