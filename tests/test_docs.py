"""The documents are right: their code runs, their links and the names of modules lead somewhere, generated parts are fresh."""

import importlib
import re
import shlex
import tomllib

import click
import pytest
from docs_generator import BLOCK, DOCS, PACKAGE, ROOT, pages

from graphexec.cli.commands import cli
from graphexec.errors import GraphExecError
from graphexec.gradcheck import check_gradient
from graphexec.graph.file.read import loads
from graphexec.ir.registry import registry

READMES = [ROOT / "README.md", PACKAGE / "README.md", ROOT / "ops" / "README.md", ROOT / "tests" / "benchmarks" / "README.md"]
DOCUMENTS = [*READMES, *sorted(DOCS.rglob("*.md"))]
GUIDE = sorted((DOCS / "plugins").glob("*.md"))
EXECUTED = [READMES[0], READMES[2], DOCS / "index.md", DOCS / "graph-files.md", DOCS / "contributing.md", *GUIDE]

ABSENT = {  # files that documents speak of and that the repository does not have
    "my_op.py", "plugin.py", "softsign.py", "FILE.py", "latest.json", "bent.py", "smooth.py", "tests/test_ops.py",
    "src/graphexec_soft_clip/",
}  # fmt: skip


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(language, documents):
    """Fenced blocks of a language, with where they are."""
    found = []
    for path in documents:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 2
                found.append(pytest.param(match[2], id=f"{name_of(path)}:{line}"))
    return found


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, registry_kept):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("path", "make"), [pytest.param(p, m, id=name_of(p)) for p, m in pages()])
def test_generated_parts_are_fresh(path, make, elsewhere):
    """The tutorial is run for this: every output that it shows is compared."""
    assert path.read_text(encoding="utf-8") == make(), "run `python tests/docs_generator.py`"


PLUGIN_BLOCKS = {
    match[1]: p.values[0] for p in blocks("python", GUIDE) if (match := re.match(r'"""(\w+):', p.values[0])) is not None
}
"""Plugin files of the author's guide, by the op that their docstring begins with."""


@pytest.mark.parametrize("code", blocks("python", EXECUTED))
def test_python_runs(code, elsewhere):
    """A block that declares ops is a plugin file, loaded and checked as one; others run as scripts, which may load such a file.

    The package that a reader's test names is the built-in one here.
    """
    if "graphexec.plugin" not in code:
        for name in re.findall(r'load_plugin\("(\w+)\.py"\)', code):
            (elsewhere / f"{name}.py").write_text(PLUGIN_BLOCKS[name], encoding="utf-8")
        code = code.replace("graphexec_soft_clip", "graphexec_ops")
        exec(compile(code, "docs", "exec"), {"__name__": "__main__"})
        return
    (elsewhere / "plugin.py").write_text(code, encoding="utf-8")
    for name in registry.load_file("plugin.py"):
        if registry.get(name).differentiable:
            assert check_gradient(name).passed


def test_the_table_of_functions_is_complete():
    """Of all that `graphexec.math` defines, whether its list of names is complete or not."""
    import graphexec.math as public

    defined = {n for n, f in vars(public).items() if not n.startswith("_") and getattr(f, "__module__", "") == public.__name__}
    listed = re.findall(r"^\| `(\w+)\(", (DOCS / "plugins" / "math.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(defined)


@pytest.mark.parametrize("text", blocks("yaml", DOCUMENTS))
def test_graph_files_load(text, elsewhere):
    if text.startswith("graphexec:"):
        loads(text).check()


@pytest.mark.parametrize("line", [
    pytest.param(line, id=line.strip())
    for p in blocks("sh", DOCUMENTS) for line in p.values[0].splitlines() if line.startswith("graphexec ") and "COMMAND" not in line
])  # fmt: skip
def test_commands_parse(line):
    _, *arguments = shlex.split(line.partition("  ")[0], comments=True)
    command = cli
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    if ">" in arguments:
        del arguments[arguments.index(">") :]
    with command.make_context(command.name, arguments) as context:
        assert context.params is not None


def links(path):
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", target)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    for target in links(path):
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), f"{name_of(path)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", to.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{name_of(path)} links to {target}"


def test_every_page_can_be_reached():
    """From the index, link by link."""
    seen, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            todo += [(page.parent / t.partition("#")[0]).resolve() for t in links(page) if t.partition("#")[0].endswith(".md")]
    assert not set(DOCS.rglob("*.md")) - seen


def mentioned(path):
    """What stands in backticks and looks like a file or a module of ours."""
    for code in re.findall(r"`([^`\n]+)`", BLOCK.sub("", path.read_text(encoding="utf-8"))):
        if re.fullmatch(r"[\w./-]+\.(py|json|md|toml)|[\w/-]+/", code) or re.fullmatch(r"graphexec(\.\w+)+", code):
            yield code


def exists(name, folder=ROOT):
    if name in ABSENT:
        return True
    if name.startswith("graphexec."):
        module, rest = name, []
        while module:
            try:
                value = importlib.import_module(module)
            except ModuleNotFoundError:
                module, _, last = module.rpartition(".")
                rest.insert(0, last)
                continue
            for part in rest:
                if not hasattr(value, part):
                    return False
                value = getattr(value, part)
            return True
        return False
    bases = (ROOT, folder, PACKAGE, DOCS, ROOT / "ops", ROOT / "tests")
    if any((base / name).exists() for base in bases):
        return True
    return "/" not in name and any(next(base.rglob(name), None) for base in (PACKAGE, ROOT / "tests", ROOT / "examples"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_names_of_modules_exist(path):
    missing = [name for name in mentioned(path) if not exists(name, path.parent)]
    assert not missing, f"{name_of(path)} names what is not there: {missing}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_definitions_are_where_the_documents_say(path):
    """`name` in `folder/file.py`: the file defines or assigns the name."""
    text = path.read_text(encoding="utf-8").replace("\n", " ")
    for dotted, file in re.findall(r"`([\w.]+)` (?:in|of) `(?:graphexec/)?(\w+/[\w/]+\.py)`", text):
        name = dotted.split(".")[-1]
        source = next(base / file for base in (PACKAGE, ROOT) if (base / file).exists()).read_text(encoding="utf-8")
        assert re.search(rf"^ *(def|class) {name}\b|^{name}\b.*=", source, re.M), f"{name_of(path)}: {name} is not in {file}"


@pytest.mark.parametrize("name", ["lower/meetings.py", "graphexec.rewrite.PASES", "graphexec.order", "stages/"])
def test_a_wrong_name_would_be_found(name):
    assert not exists(name)


def test_pages_are_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    globs = settings["package-data"]["graphexec"]
    packaged = {path for pattern in globs for path in PACKAGE.glob(pattern)}
    assert set(DOCS.rglob("*.md")) <= packaged


def test_the_two_commands_of_the_readme_are_there():
    """Each is one line that works alone."""
    shown = [line for parameter in blocks("sh", READMES[:1]) for line in parameter.values[0].splitlines()]
    start = "python3 -m venv .venv && .venv/bin/pip install --quiet "
    assert f"{start}. && .venv/bin/graphexec train examples/digits.yaml" in shown
    assert f"{start}--editable '.[dev]' && .venv/bin/python -m pytest" in shown


def test_a_wrong_block_would_be_found():
    with pytest.raises(GraphExecError):
        loads("graphexec: 1\nnodes: {y: tahn(x)}\noutputs: [y]\n")
