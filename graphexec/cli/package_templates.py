"""package_templates: the files of the package that `graphexec ops new --package` writes, beside the op itself.

``{name}`` is the op's name, ``{package}`` the name under which Python imports the package, ``{distribution}`` the one under which
pip installs it, ``{version}`` the version of graphexec that wrote it, and ``{api}`` that of the plugin interface.
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "0.1.0"
description = "The op {name} for graphexec"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["graphexec>={version}", "numpy>=2.0"]

[project.optional-dependencies]
test = ["mypy>=1.10", "pytest>=8.0", "ruff>=0.8"]

[project.entry-points."graphexec.ops"]
{package} = "{package}"

[tool.setuptools.package-data]
{package} = ["py.typed"]

[tool.ruff]
line-length = 132

[tool.ruff.lint]
select = ["E", "F", "I", "B", "UP", "NPY"]

[tool.mypy]
files = ["src", "tests"]
check_untyped_defs = true

[tool.pytest.ini_options]
testpaths = ["tests"]
"""

INIT = '''"""Ops for graphexec: every module of this package is searched for them."""

api_version = {api}  # of graphexec.plugin
'''

TEST = '''"""Checks every op of the package: native code against the reference, gradients, shapes, element types."""

from pytest_graphexec import check_package

test_ops = check_package("{package}")
'''

README = """\
# {distribution}

The op `{name}` for [graphexec](https://pypi.org/project/graphexec/). Where this package is installed, graphs, graph files and
the command line know the op:

```python
import graphexec as gx
import numpy as np

print(gx.ops.{name}({arguments}))
```

## Development

```sh
python -m venv .venv && .venv/bin/pip install --editable '.[test]'
.venv/bin/pytest
.venv/bin/ruff check . && .venv/bin/mypy
```

Another op is another file in `src/{package}/`; `graphexec ops new NAME` writes one. `tests/test_ops.py` finds it.

## Before you publish

Choose a licence: add the file `LICENSE`, and `license = "..."` and `authors` to `pyproject.toml`. Then
`python -m build && twine upload dist/*`.
"""

WORKFLOW = """\
name: test
on: [push, pull_request]
permissions:
  contents: read
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python: ["3.11", "3.14"]
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python }}
      - run: pip install --editable '.[test]'
      - run: ruff check .
      - run: mypy
      - run: pytest
"""

GITIGNORE = """\
.venv/
__pycache__/
*.egg-info/
build/
dist/
.mypy_cache/
.pytest_cache/
.ruff_cache/
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "README.md": README,
    ".gitignore": GITIGNORE,
    ".github/workflows/test.yml": WORKFLOW,
    "src/{package}/__init__.py": INIT,
    "src/{package}/py.typed": "",
    "tests/test_ops.py": TEST,
}
"""Path in the package's folder: text."""

ARGUMENTS = {"kernel": "np.ones((2, 3)), np.ones(3)"}
"""Operands for the example in the README of a package, by kind; for others, `ARGUMENT`."""

ARGUMENT = "np.array([-1.0, 0.5, 2.0])"
