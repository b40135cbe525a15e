"""Settings, sessions (a loaded graph file with its data) and results, which all commands use."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from graphexec.executable import Executable
    from graphexec.graph.graph import Graph
    from graphexec.ir.function import Leaf
    from graphexec.optim.optimizers import Optimizer

DEFAULT_ROWS = 32
"""Size of a named dimension that neither data nor options determine, when only time is measured."""


@dataclass(frozen=True)
class Settings:
    """The options that every command has."""

    plugins: tuple[str, ...] = ()
    threads: int | None = None
    seed: int | None = None
    debug: bool = False
    quiet: bool = False
    as_json: bool = False
    optimize: bool = True
    skip_passes: tuple[str, ...] = ()

    @property
    def passes(self) -> dict[str, Any]:
        """The passes to skip, as keyword arguments of `compile` and `check_gradient`."""
        return {"optimize": self.optimize, "skip_passes": self.skip_passes}


@dataclass
class Result:
    """A command's result: text for people, a record for programs, notes for standard error, and an error to exit with."""

    text: str
    record: Any
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None


def load_plugins(settings: Settings) -> list[str]:
    """Registers the plugin files; returns the names of their ops."""
    from graphexec.ir.registry import registry

    return [name for path in settings.plugins for name in registry.load_file(path)]


class Session:
    """A loaded graph file: its graph, its train section, and arrays for its inputs."""

    def __init__(self, path: str, settings: Settings) -> None:
        from graphexec.graph.file.read import load
        from graphexec.rewrite import skipped

        skipped(**settings.passes)  # rejects a wrong name before any work
        load_plugins(settings)
        self.path, self.settings = path, settings
        self.graph: Graph = load(path)
        self.train: dict[str, Any] = self.graph.dag.graph.get("train") or {}
        self.seed: int = self.train.get("seed", 0) if settings.seed is None else settings.seed
        self.notes: list[str] = []

    @functools.cached_property
    def leaves(self) -> dict[str, Leaf]:
        """The graph's inputs by name."""
        from graphexec.training.data import input_leaves

        return input_leaves(self.graph)

    def compile(self, graph: Graph | None = None, **options: Any) -> Executable:
        """Compiles the graph, or another one, with the session's seed, threads and passes."""
        from graphexec.executable import compile as compile_graph

        options = {"debug": self.settings.debug, **self.settings.passes, **options}
        return compile_graph(graph or self.graph, seed=self.seed, threads=self.settings.threads, **options)

    # -- data

    def inputs(self, specs: Iterable[str] = (), *, finite: bool = False) -> dict[str, np.ndarray]:
        """Reads the arrays given with ``-i``, else all data of the train section; ``finite`` refuses NaN. *Raises* DataError."""
        from graphexec.errors import DataError
        from graphexec.training.data import read_inputs, section_arrays

        specs = list(specs)
        if specs:
            return read_inputs(specs, self.leaves, finite=finite)
        if not self.leaves:
            return {}
        if "data" not in self.train:
            raise DataError(
                "there are no arrays for the inputs",
                source=self.path,
                facts=[f"inputs: {', '.join(self.leaves)}"],
                todo=" ".join(["Give them:", *(f"-i {n}=FILE.npy" for n in self.leaves)]),
            )
        return section_arrays(self.train["data"], self.leaves, self.graph.dag.graph["directory"], finite=finite)

    def all_inputs(self, specs: Iterable[str] = (), *, finite: bool = False) -> dict[str, np.ndarray]:
        """Reads the arrays of all inputs. *Raises* DataError when one is missing."""
        from graphexec.errors import DataError

        arrays = self.inputs(specs, finite=finite)
        for name, leaf in self.leaves.items():
            if name not in arrays:
                from graphexec.ir.spec import shape_text

                facts = [f"{name}: {leaf.dtype}{shape_text(leaf.shape)}"]
                raise DataError(f"input {name!r} is missing", source=self.path, facts=facts, todo=f"Give -i {name}=FILE.")
        return arrays

    def some_inputs(self, rows: int | None, sizes: Mapping[str, int], specs: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Returns arrays for a check or a measurement: the first rows of the data, or random ones if there is none."""
        import numpy as np

        from graphexec.errors import GraphExecError
        from graphexec.training.data import is_batched

        leaves, specs = self.leaves, list(specs)
        if specs or "data" in self.train:
            try:
                arrays = self.all_inputs(specs)
            except GraphExecError as error:
                if specs:
                    raise
                self.notes.append(f"inputs are random, because the data cannot be read: {error.where}: {error.what}")
            else:
                for name, leaf in leaves.items():
                    if is_batched(leaf):
                        count = sizes.get(str(leaf.shape[0]), min(rows or len(arrays[name]), len(arrays[name])))
                        arrays[name] = arrays[name][np.arange(count) % max(len(arrays[name]), 1)]
                return arrays
        rng = np.random.default_rng(self.seed)
        bound = self.sizes(sizes, rows or DEFAULT_ROWS)
        return {name: _drawn(leaf, bound, rng) for name, leaf in leaves.items()}

    def sizes(self, given: Mapping[str, int], default: int) -> dict[str, int]:
        """Gives every named dimension a size. *Raises* DataError for a name that the graph does not have."""
        from graphexec.errors import DataError, with_hint

        names = list(dict.fromkeys(n for leaf in self.leaves.values() for n in leaf.shape if isinstance(n, str)))
        for name in given:
            if name not in names:
                what = with_hint(f"the graph has no dimension {name!r}", name, names)
                raise DataError(what, source=self.path, todo=f"Its named dimensions are: {', '.join(names) or 'none'}.")
        return {name: given.get(name, default) for name in names}

    # -- the graph

    def loss(self, given: str | None = None) -> str | None:
        """Returns the name of the loss: the given one, that of the train section, or the only scalar floating output; else None."""
        from graphexec.ir.infer import infer
        from graphexec.ir.spec import DTYPES, Sizes

        if given is not None or "loss" in self.train:
            name: str = self.train["loss"] if given is None else given
            return self.graph[name].name
        fn = infer(self.graph.function(), Sizes())
        found = [n for n, v in fn.outputs.items() if fn.specs[v].shape == () and DTYPES[fn.specs[v].dtype] == "f"]
        return found[0] if len(found) == 1 else None

    def required_loss(self, given: str | None = None) -> str:
        """Returns the name of the loss. *Raises* GraphError if there is none."""
        from graphexec.errors import GraphError

        loss = self.loss(given)
        if loss is None:
            raise GraphError(
                "the file names no loss", source=self.path, todo="Name it with --loss NAME, or with loss: NAME under train."
            )
        return loss

    def optimizer(self, text: str | None = None, lr: float | None = None) -> Optimizer:
        """Parses the optimizer: the given text, or that of the train section, with another learning rate if one is given."""
        from graphexec.optim.optimizers import Optimizer

        optimizer = Optimizer.parse(text or self.train.get("optimizer", "sgd(lr=0.01)"))
        return optimizer if lr is None else optimizer.with_attributes(lr=lr)

    def kind(self, given: str | None) -> str:
        """Chooses the program: the given one, else a step if the graph has a loss and parameters, else the forward pass."""
        return given or ("step" if self.loss() is not None and self.has_parameters else "forward")

    @property
    def has_parameters(self) -> bool:
        """Whether the graph has trainable parameters."""
        return any(leaf.trainable for leaf in self.graph.function().of_role("parameter"))

    def compile_kind(self, kind: str) -> Executable:
        """Compiles the executable for one kind of program, to show or measure it: forward, gradients or step."""
        if kind == "forward":
            return self.compile(debug=False)
        optimizer = self.optimizer() if kind == "step" else None
        return self.compile(loss=self.required_loss(), optimizer=optimizer, recompute=self.train.get("recompute"), debug=False)


def _drawn(leaf: Leaf, sizes: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    from graphexec.ir.spec import DTYPES

    shape = tuple(sizes[n] if isinstance(n, str) else n for n in leaf.shape)
    drawn = rng.standard_normal(shape) if DTYPES[leaf.dtype] == "f" else rng.integers(0, 2, shape)
    import numpy as np

    return np.asarray(drawn).astype(leaf.dtype)


def random_weights(graph: Graph, seed: int) -> list[str]:
    """Says that results are those of untrained weights, in one line; in none if the graph draws no parameter at random."""
    from graphexec.optim.initializers import is_random

    drawn = [leaf.name for leaf in graph.function().of_role("parameter") if leaf.value is None and is_random(leaf.init)]
    if not drawn:
        return []
    names = ", ".join(drawn[:3]) + (", ..." if len(drawn) > 3 else "")
    return [f"no weights are given: the results are those of random initial weights ({names}; seed {seed}). Use -w FILE"]


def load_weights(exe: Executable, path: str) -> list[str]:
    """Loads parameters from a safetensors file or the newest checkpoint of a folder. Returns notes.

    *Raises* DataError when a parameter is missing or has another shape; ignores additional arrays.
    """
    from graphexec.errors import DataError, with_hint
    from graphexec.training.checkpoint import checkpoint_record, load_arrays

    record = checkpoint_record(path) if Path(path).is_dir() else None
    file = str(Path(path, record["arrays"])) if record else path
    arrays = load_arrays(file)
    for name in exe.parameters:
        if name not in arrays:
            raise DataError(
                with_hint(f"the file has no parameter {name!r}", name, arrays),
                source=file,
                facts=[f"arrays: {', '.join(arrays) or 'none'}"],
                todo="Give weights that were saved from this graph.",
            )
        try:
            exe.parameters[name] = arrays[name]
        except DataError as error:
            raise error.at(source=file) from None
    extra = [n for n in arrays if n not in exe.parameters]
    return [f"not used from {file}: {', '.join(extra)}"] if extra and not record else []


def check_target(path: str | None, extensions: Sequence[str]) -> None:
    """Checks before any work that the result can be written. *Raises* DataError."""
    from graphexec.atomic_file import require_writable
    from graphexec.errors import DataError
    from graphexec.system_errors import unwritable

    if path is None:
        return
    if Path(path).suffix.lower() not in extensions:
        raise DataError(f"the output must be called NAME{' or NAME'.join(extensions)}", source=path, todo="Change the extension.")
    try:
        require_writable(path)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def write_npz(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file atomically: an interrupted write leaves no partial file. *Raises* DataError."""
    import numpy as np
    from numpy.lib import format as npy

    from graphexec.atomic_file import replacing
    from graphexec.system_errors import unwritable

    try:
        with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in arrays.items():  # not np.savez, which takes names as keywords: no output could be called "file"
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array(member, np.asanyarray(array), allow_pickle=False)
    except OSError as error:
        raise unwritable(path, error, needed=sum(a.nbytes for a in arrays.values())) from error
