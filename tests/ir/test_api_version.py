"""Plugins that state the version of the interface for which they were written; `tests/broken/` has files that are refused."""

import pytest
from helpers.installed import ONE_OP, install

from graphexec.ir.registry import Registry
from graphexec.plugin import API_VERSION

NEWER = f"api_version = {API_VERSION + 1}\n"
FUTURE = "from graphexec.plugin import of_the_future\n"


def loaded(folder, monkeypatch, package, modules, warns):
    """A registry that has loaded an installed package."""
    install(folder, package, modules)
    monkeypatch.syspath_prepend(str(folder))
    registry = Registry()
    if warns:
        with pytest.warns(UserWarning, match="is refused"):
            registry.names()
    else:
        registry.names()
    return registry


@pytest.mark.parametrize("where", ["__init__", "doubled"])
def test_this_version_is_taken(tmp_path, monkeypatch, where):
    text = ONE_OP.format(name="doubled")
    modules = {"doubled": text} | {where: f"api_version = {API_VERSION}\n" + (text if where == "doubled" else "")}
    registry = loaded(tmp_path, monkeypatch, f"states_this_in_{where.strip('_')}", modules, warns=False)
    assert "doubled" in registry
    assert not registry.refused


@pytest.mark.parametrize(("where", "text"), [
    ("__init__", NEWER), ("__init__", NEWER + FUTURE), ("__init__", FUTURE + NEWER),
    ("doubled", NEWER), ("doubled", FUTURE + NEWER),
], ids=["package", "package imports first", "package imports later", "module", "module imports"])  # fmt: skip
def test_a_newer_one_is_refused_with_what_to_do(tmp_path, monkeypatch, request, where, text):
    package = "".join(c if c.isalnum() else "_" for c in request.node.callspec.id) + "_newer"
    op = ONE_OP.format(name="doubled")
    modules = {"doubled": op} | {where: text + (op if where == "doubled" else "")}
    registry = loaded(tmp_path, monkeypatch, package, modules, warns=True)
    assert "doubled" not in registry
    (error,) = registry.refused.values()
    assert f"needs version {API_VERSION + 1} of the plugin interface; this graphexec has version {API_VERSION}" in error.what
    assert "Upgrade graphexec" in error.todo


def test_one_module_of_a_package_may_be_newer(tmp_path, monkeypatch):
    modules = {"doubled": ONE_OP.format(name="doubled"), "later": NEWER + ONE_OP.format(name="later")}
    registry = loaded(tmp_path, monkeypatch, "partly_newer", modules, warns=True)
    assert "doubled" in registry
    assert "later" not in registry
    assert list(registry.refused) == ["partly_newer.later"]
