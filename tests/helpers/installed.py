"""Packages as pip leaves them: importable, with metadata that names an entry point."""

from pathlib import Path

ONE_OP = """\
from graphexec.plugin import elementwise


@elementwise(reference=lambda x: 2.0 * x, domain=(-1.0, 1.0))
def {name}(x):
    return 2.0 * x
"""
"""The text of a module that declares one op."""


def install(folder, package, modules, version="1.2"):
    """Puts a package (name of module: text) and its metadata into a folder of `sys.path`; gives the package's folder."""
    here = Path(folder, package)
    here.mkdir(parents=True)
    for name, text in {"__init__": "", **modules}.items():
        (here / f"{name}.py").write_text(text, encoding="utf-8")
    describe(folder, package.replace("_", "-"), version, {"graphexec.ops": {"mine": package}})
    return here


def describe(folder, distribution, version, entry_points):
    """Writes the metadata of a distribution whose packages are in a folder."""
    metadata = Path(folder, f"{distribution.replace('-', '_')}-{version}.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [line for group, named in entry_points.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
