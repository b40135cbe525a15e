"""The checker is checked: it finds each planted fault, and none in the ops that are right."""

import re
from pathlib import Path

import pytest
from opcheck.faults import FAULTS

import graphexec as gx

HERE = Path(__file__).parent
PLANTED = sorted((HERE / "planted").glob("*.py"))
RIGHT = sorted((HERE / "right").glob("*.py"))
DECLARED = re.compile(r"^@(?:elementwise|kernel|reduction|view|shape_value|composite)\b.*?^def (\w+)", re.MULTILINE | re.DOTALL)
FAULT = re.compile(r"^# fault: \S.+\n@", re.MULTILINE)


def declared(path):
    """The names of the ops that a plugin file declares, without loading it."""
    return DECLARED.findall(path.read_text(encoding="utf-8"))


def test_the_table_has_every_planted_op():
    listed = {(name, file) for name, (file, _) in FAULTS.items()}
    assert listed == {(name, path.stem) for path in PLANTED for name in declared(path)}


@pytest.mark.parametrize("path", PLANTED, ids=lambda path: path.stem)
def test_each_planted_op_says_what_is_wrong(path, registry_kept):
    """A file loads, since its faults are not those that a declaration is refused for."""
    assert len(FAULT.findall(path.read_text(encoding="utf-8"))) == len(declared(path))
    for name in gx.load_plugin(path):
        assert registry_kept.get(name).doc, f"{name} states no equation"


USUAL = ("unwritten", "wrong_derivative", "races", "crashes", "out_of_range", "special_points")
"""Kinds of which one fault is tried in every run."""


def first_of_each(cases, file_of, mark):
    """One case of each usual file as it is, the others with a mark: a check takes seconds."""
    seen, made = set(), []
    for case in cases:
        file = file_of(case)
        values = case if isinstance(case, tuple) else (case,)
        usual = file not in seen and (isinstance(file, Path) or file in USUAL)
        made.append(pytest.param(*values, marks=[] if usual else [mark]))
        seen.add(file)
    return made


@pytest.mark.parametrize("name", first_of_each(sorted(FAULTS), lambda name: FAULTS[name][0], pytest.mark.exhaustive))
def test_a_planted_fault_is_found(name, registry_kept):
    file, pattern = FAULTS[name]
    gx.load_plugin(HERE / "planted" / f"{file}.py")
    report = gx.check_op(name)
    found = [f"{f.check}: {f.text}" for f in report.findings]
    assert any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for text in found), f"{pattern}\n{report}"
    assert report.passed is not any(f.severity == "fault" for f in report.findings)


RIGHT_OPS = [(path, name) for path in RIGHT for name in declared(path)]


@pytest.mark.parametrize(("path", "name"), first_of_each(RIGHT_OPS, lambda case: case[0], pytest.mark.exhaustive))
def test_a_right_op_has_no_fault(path, name, registry_kept):
    gx.load_plugin(path)
    report = gx.check_op(name)
    assert [f for f in report.findings if f.severity == "fault"] == [], str(report)
    assert report.passed
