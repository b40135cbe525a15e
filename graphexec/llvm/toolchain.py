"""toolchain: compiles IR text to native code.

Kernels are optimised for this host, emitted as object code, and linked into the process by one MCJIT engine. Loading object code
does not need Numba, so a process whose kernels are cached never imports it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from graphexec.abi import RARE_PREFIX

if TYPE_CHECKING:
    import llvmlite.binding as llvm
else:
    llvm = None  # imported when code is first compiled or loaded, because the import takes a third of a second

LOCK = threading.RLock()
"""Held by whatever compiles or links: LLVM, and Numba with it, work on one context, which two threads must not use at a time."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def once(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """As `functools.cache`, but threads that ask at a time get one result: code is loaded once, and none of it is freed."""
    cached = functools.cache(function)

    @functools.wraps(function)
    def locked(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        with LOCK:
            return cached(*arguments, **options)  # type: ignore[arg-type]

    return locked


def _load_llvm() -> None:
    global llvm
    if llvm is None:
        import llvmlite.binding

        llvm = llvmlite.binding


@functools.cache
def host() -> tuple[str, str]:
    """Name and feature string of this processor."""
    _load_llvm()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def vector_bytes() -> int:
    """Width of this processor's vector registers; 16 if unknown."""
    features = host()[1].split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


def triple() -> str:
    """LLVM's name of this platform."""
    _load_llvm()
    return str(llvm.get_process_triple())


def _target_machine() -> llvm.TargetMachine:
    return _machine(*host())


@once
def _machine(name: str, features: str) -> llvm.TargetMachine:
    _load_llvm()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    x86 = llvm.get_process_triple().startswith("x86")
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="static" if x86 else "default", codemodel="jitdefault", jit=True
    )


class Portable(str):
    """IR of one function, ``entry``, that no pass has fitted to a processor: this is done before it is linked with its loops."""

    entry: str

    def __new__(cls, text: str, entry: str) -> Portable:
        made = super().__new__(cls, text)
        made.entry = entry
        return made


def build(modules: Sequence[str], entry: str, *, written: bool = False) -> bytes:
    """Object code of IR modules linked and optimised together; only ``entry`` stays visible. For ``written`` see `optimized`.

    It calls rare paths by symbol (`linker`).
    """
    with LOCK:
        return bytes(_target_machine().emit_object(optimized(modules, entry, written=written)))


def assembly(modules: Sequence[str], entry: str) -> str:
    """The machine code as readable text."""
    with LOCK:
        return str(_target_machine().emit_assembly(optimized(modules, entry)))


def optimized(modules: Sequence[str], entry: str, *, written: bool = False) -> llvm.ModuleRef:
    """IR modules linked and optimised by LLVM's -O3. ``written`` code is vectorised and unrolled already and stays as it is.

    Loops are vectorised over elements. Operations on one element are not (LLVM's SLP): a product inside such a vector would not be
    fused with the sum that uses it, and the last elements of an array would differ from the others in a bit.
    """
    _load_llvm()
    with LOCK:
        module = llvm.parse_assembly(modules[0])
        for text in modules[1:]:
            fitted = simplified(text, text.entry) if isinstance(text, Portable) else text
            module.link_in(llvm.parse_assembly(fitted))
        module.verify()
        _internalize(module, entry, shared="available_externally")
        _run_passes(module, 0 if written else 3)
        return module


def _run_passes(module: llvm.ModuleRef, level: int) -> None:
    module.data_layout = str(_target_machine().target_data)  # places of members in structs, among others
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = options.loop_unrolling = options.loop_interleaving = True
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(_target_machine(), options)
    builder.getModulePassManager().run(module, builder)


def simplified(text: str, entry: str) -> str:
    """A module with one function and what it calls, after LLVM's -O3; it can be linked with any other module."""
    _load_llvm()
    with LOCK:
        module = llvm.parse_assembly(text)
        module.verify()
        _internalize(module, entry, shared="linkonce_odr")
        _run_passes(module, 3)
        return str(module)


def isolate(text: str, entry: str, name: str) -> str:
    """A module with only ``entry`` visible, under ``name``, so that it can be linked with any other module."""
    _load_llvm()
    with LOCK:
        module = llvm.parse_assembly(re.sub(r"^target datalayout.*$", "", text, flags=re.M).replace(entry, name))
        _internalize(module, name, shared="linkonce_odr")
        return str(module)


def _internalize(module: llvm.ModuleRef, entry: str, *, shared: str) -> None:
    """Hides everything except the entry; gives rare paths the linkage ``shared``.

    LLVM finds their vector variants by name, so they stay visible until all is linked. Then they are "available_externally": known
    to the passes, but not compiled again into every kernel, which finds them by symbol (`linker`).
    """
    tables = "private" if shared == "available_externally" else shared  # a symbol would look like that of a rare path
    for things, visible in ((module.functions, shared), (module.global_variables, tables)):
        for thing in things:
            if not thing.is_declaration and thing.name != entry and not thing.name.startswith("llvm."):
                thing.linkage = visible if thing.name.startswith(RARE_PREFIX) else "internal"


@once
def _engine() -> llvm.ExecutionEngine:
    machine = _target_machine()
    module = llvm.parse_assembly(f'target triple = "{llvm.get_process_triple()}"')
    return llvm.create_mcjit_compiler(module, machine)


def load(code: bytes, entry: str) -> int:
    """Links object code into the process; gives the address of ``entry``, whose name must be new."""
    with LOCK:
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = int(engine.get_function_address(entry))
    if address == 0:
        raise RuntimeError(f"{entry} is not in its object code")
    return address


def add_symbol(name: str, address: int) -> None:
    """Defines a symbol for code that is loaded later."""
    _load_llvm()
    llvm.add_symbol(name, address)


def symbol_name(prefix: str, *parts: str) -> str:
    """A name from a prefix and a hash of everything that the code depends on."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', prefix)}_{digest}"


def reserve_symbol(name: str) -> None:
    """Gives a symbol a placeholder address: Numba links the code that it compiles for us, although that copy never runs."""
    if not is_known(name):
        llvm.add_symbol(name, 1)


def is_known(name: str) -> bool:
    """Whether loaded code can refer to a symbol: one of ours, or of Numba if that is loaded."""
    _load_llvm()
    return llvm.address_of_symbol(name) is not None
