"""The package of examples/custom_op: the op checker finds no fault in any of its ops."""

from pathlib import Path

import pytest

import graphexec as gx

FOLDER = Path(__file__).parents[2] / "examples" / "custom_op" / "softclip"


@pytest.mark.parametrize("path", [p for p in sorted(FOLDER.glob("*.py")) if not p.name.startswith("_")], ids=lambda p: p.stem)
def test_the_checker_finds_no_fault(path, registry_kept):
    for name in gx.load_plugin(path):
        report = gx.check_op(name)
        assert report.passed, report
