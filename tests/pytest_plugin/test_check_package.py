"""The pytest plugin, in projects of its own: `gx.check_op` is a stand-in that reports what each op's name asks for."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from helpers.installed import ONE_OP, install

STAND_IN = '''
import collections
import graphexec

Finding = collections.namedtuple("Finding", "severity check text")


class Report:
    def __init__(self, op, given):
        severity = {"fault": "fault", "odd": "warning"}.get(op.partition("_")[0])
        self.findings = [Finding(severity, "gradient", f"{op} is {severity}ed")] if severity else []
        self.passed = severity != "fault"
        self.text = f"REPORT of {op} with {sorted(given.items())}"

    def __str__(self):
        return self.text


def check_op(op, *, derivative=1, attributes=None, shapes=None, seed=0, timeout=60):
    assert hasattr(graphexec.ops, op), op
    report = Report(op, {"derivative": derivative, "attributes": attributes, "shapes": shapes, "seed": seed})
    print(report)
    return report


graphexec.check_op = check_op
'''
ONE_LINE = 'from pytest_graphexec import check_package\n\ntest_ops = check_package("two_ops"{})\n'


class Run:
    """What a pytest session printed, and how its tests ended: ids by outcome."""

    def __init__(self, code, output):
        self.code, self.output = code, output
        self.ended = {word: sorted(re.findall(rf"test_it\.py::(\S+) {word}", output)) for word in ("PASSED", "FAILED")}


@pytest.fixture
def project(tmp_path):
    """``project(modules, test, *options)``: a pytest session in a project that tests an installed package `two_ops`."""

    def run(modules, test, *options, stand_in=STAND_IN, package="two_ops"):
        texts = {name: ONE_OP.format(name=name) if text is None else text for name, text in modules.items()}
        install(tmp_path / "site", package, texts)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "conftest.py").write_text(stand_in)
        (tmp_path / "test_it.py").write_text(test)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        environment.pop("PYTEST_ADDOPTS", None)
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        return Run(done.returncode, done.stdout + done.stderr)

    return run


def test_pytest_finds_the_plugin():
    assert [e.value for e in entry_points(group="pytest11") if e.name == "graphexec"] == ["pytest_graphexec"]


def test_each_op_is_a_test_and_its_name_the_id(project):
    found = project({"first": None, "second": None}, ONE_LINE.format(""))
    assert found.ended == {"PASSED": ["test_ops[first]", "test_ops[second]"], "FAILED": []}
    assert found.code == 0, found.output


@pytest.mark.exhaustive
def test_a_fault_fails_with_the_report_alone(project):
    found = project({"first": None, "faulty": None, "fault_here": None}, ONE_LINE.format(""))
    assert found.ended == {"PASSED": ["test_ops[faulty]", "test_ops[first]"], "FAILED": ["test_ops[fault_here]"]}
    assert "REPORT of fault_here" in found.output
    assert "Traceback" not in found.output
    assert "traceback entries are hidden" not in found.output
    assert "def check" not in found.output
    assert "def test_op" not in found.output
    assert found.code == 1


@pytest.mark.parametrize(("options", "passed"), [
    (["-k", "second"], ["test_ops[second]"]), (["-k", "not second"], ["test_ops[first]"]),
    (["test_it.py::test_ops[first]"], ["test_ops[first]"]), (["-n", "2"], None),
], ids=["-k", "-k not", "by id", "-n"])  # fmt: skip
@pytest.mark.exhaustive
def test_it_works_with_the_options_of_pytest(project, options, passed):
    found = project({"first": None, "second": None}, ONE_LINE.format(""), *options)
    assert found.code == 0, found.output
    if passed is None:
        assert "2 passed" in found.output
    else:
        assert found.ended["PASSED"] == passed


@pytest.mark.exhaustive
def test_x_stops_after_the_first_fault(project):
    found = project({"fault_a": None, "fault_b": None}, ONE_LINE.format(""), "-x")
    assert found.ended["FAILED"] == ["test_ops[fault_a]"]


@pytest.mark.exhaustive
def test_seed_derivative_and_options_arrive(project):
    given = ', derivative=2, options={"first": {"attributes": {"beta": 2.0}, "shapes": [(4, 5)], "derivative": 3}}'
    found = project({"first": None, "second": None}, ONE_LINE.format(given), "-s", "--graphexec-seed", "7")
    first = "REPORT of first with [('attributes', {'beta': 2.0}), ('derivative', 3), ('seed', 7), ('shapes', [(4, 5)])]"
    second = "REPORT of second with [('attributes', None), ('derivative', 2), ('seed', 7), ('shapes', None)]"
    assert first in found.output
    assert second in found.output


@pytest.mark.exhaustive
def test_a_warning_is_shown(project):
    found = project({"odd_one": None}, ONE_LINE.format(""))
    assert found.code == 0
    assert "OpCheckWarning: odd_one: gradient: odd_one is warninged" in found.output


@pytest.mark.exhaustive
def test_a_warning_can_be_made_an_error(project):
    found = project({"odd_one": None, "first": None}, ONE_LINE.format(""), "-W", "error::pytest_graphexec.OpCheckWarning")
    assert found.ended == {"PASSED": ["test_ops[first]"], "FAILED": ["test_ops[odd_one]"]}


@pytest.mark.parametrize("strict", [(), ("-W", "error")], ids=["", "warnings are errors"])
@pytest.mark.exhaustive
def test_a_refused_module_is_a_failed_test_and_the_others_run(project, strict):
    found = project({"first": None, "broken": "1 / 0\n"}, ONE_LINE.format(""), *strict)
    assert found.ended == {"PASSED": ["test_ops[first]"], "FAILED": ["test_ops[two_ops.broken]"]}
    assert "ZeroDivisionError" in found.output


@pytest.mark.exhaustive
def test_a_package_that_no_entry_point_names_is_told_so(project):
    found = project({"first": None}, ONE_LINE.format("").replace("two_ops", "two_opps"))
    assert found.code == 2
    assert "no op of the package 'two_opps'; did you mean 'two_ops'?" in found.output
    assert '[project.entry-points."graphexec.ops"]' in found.output
    assert "Traceback" not in found.output


@pytest.mark.exhaustive
def test_options_of_an_unknown_op_are_refused(project):
    found = project({"first": None}, ONE_LINE.format(', options={"frist": {}}'))
    assert found.code == 2
    assert "two_ops has no op 'frist'; its ops are first" in found.output


@pytest.mark.exhaustive
def test_the_fixture_checks_one_op_with_options(project):
    test = "def test_beta(check_op):\n    assert check_op('first', attributes={'beta': 3}).passed\n    check_op('fault_here')\n"
    found = project({"first": None, "fault_here": None}, test)
    assert "'attributes', {'beta': 3}" in found.output
    assert found.ended["FAILED"] == ["test_beta"]
    assert "def check" not in found.output


def test_other_projects_do_not_import_graphexec(project):
    test = "import sys\n\n\ndef test_nothing():\n    found = {'graphexec', 'numpy', 'numba', 'llvmlite'} & set(sys.modules)\n"
    test += "    assert not found\n    assert 'pytest_graphexec' in sys.modules\n"
    found = project({}, test, stand_in="")
    assert found.code == 0, found.output
