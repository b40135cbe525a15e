"""pytest_graphexec: a pytest plugin that checks the ops of a package.

    from pytest_graphexec import check_package

    test_ops = check_package("my_ops")

makes one test for each op of the installed package `my_ops`, with the op's name as its id. A test does what
`graphexec ops check` does, and fails with its report. The fixture `check_op` does the same for one op, with options.

pytest imports this package whenever it starts, so graphexec itself is imported only by tests that use it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphexec.errors import GraphExecError

__all__ = ["OpCheckWarning", "check_op", "check_package"]


class OpCheckWarning(UserWarning):
    """What the check of an op found that is no fault. ``filterwarnings = error::pytest_graphexec.OpCheckWarning`` makes it one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --graphexec-seed."""
    text = "Seed of the operands with which ops are checked. Default: 0."
    parser.getgroup("graphexec").addoption("--graphexec-seed", type=int, default=0, metavar="N", help=text)


@pytest.fixture
def check_op(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``check_op("my_op", attributes={"beta": 2.0})``: fails the test with the report of `gx.check_op`, or returns the report."""
    seed = request.config.getoption("--graphexec-seed")

    def check(op: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        import graphexec

        report = graphexec.check_op(op, **{"seed": seed, **options})
        if not report.passed:
            pytest.fail(str(report), pytrace=False)
        for finding in report.findings:
            warnings.warn(f"{_name_of(op)}: {finding.check}: {finding.text}", OpCheckWarning, stacklevel=2)
        return report

    return check


def check_package(package: str, /, *, derivative: int = 1, options: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
    """Makes a test function, one test for each op of an installed package.

    ``derivative`` is the highest derivative that is checked. ``options`` holds, by the op's name, further arguments of
    `gx.check_op`: ``{"my_op": {"attributes": {"beta": 2.0}, "shapes": [(4, 5)]}}``. A module of the package that graphexec
    refuses is a failed test.
    """
    __tracebackhide__ = True
    given = {name: dict(more) for name, more in (options or {}).items()}
    names, refused = _found(package)
    unknown = [name for name in given if name not in names]
    if unknown and not refused:
        pytest.fail(f"options: {package} has no op {unknown[0]!r}; its ops are {', '.join(names)}", pytrace=False)

    @pytest.mark.parametrize("op", [*names, *refused])
    def test_op(op: str, check_op: Callable[..., Any]) -> None:
        if op in refused:
            pytest.fail(f"graphexec refuses {op}\n{refused[op]}", pytrace=False)
        check_op(op, **{"derivative": derivative, **given.get(op, {})})

    return test_op


def _found(package: str) -> tuple[list[str], dict[str, GraphExecError]]:
    """The ops of a package, and the modules of it that are refused. Fails if there are neither."""
    __tracebackhide__ = True
    from graphexec.errors import with_hint
    from graphexec.ir.registry import registry

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a refused plugin warns; here it fails a test
        names, refused = registry.of_package(package)
    if not names and not refused:
        what = with_hint(f"graphexec knows no op of the package {package!r}", package, registry.packages())
        text = f'[project.entry-points."graphexec.ops"]\n{package} = "{package}"'
        todo = f"The package must be installed, `pip install --editable .`, and its pyproject.toml must name it:\n\n{text}"
        pytest.fail(f"{what}\n{todo}", pytrace=False)
    return names, refused


def _name_of(op: Any) -> str:
    return op if isinstance(op, str) else getattr(op, "name", None) or repr(op)
