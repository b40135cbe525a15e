"""The compiled entry to a program: one call from Python, one integer in, one integer out.

The *call context* of a program is an array of words (`graphexec.abi.CallWord`), prepared once. ``run(context, times)`` reads it,
runs the table on this thread or with the thread pool, and measures the time if the thread tuner needs it. CPython calls it
as a method whose ``self`` is the context, a bytearray. The method is IR, too: the layout of `PyMethodDef` and the functions
that it calls are part of CPython's stable ABI. Their addresses are given to the linker when the code is loaded and are not
part of it, so the code can be cached on disk. On other Python implementations the call goes through ctypes, half a
microsecond slower.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

from graphexec.abi import ASK, CALL_WORDS, CallWord, Column, PoolWord
from graphexec.codegen import linker
from graphexec.llvm import fingerprint, toolchain
from graphexec.runtime import thread_pool_ir

_ALONE = """
define {linkage} i64 @{name}(ptr %table, i64 %count, i64 %times, ptr %progress) nounwind {{
entry:
  br label %again
again:
  %t = phi i64 [ 0, %entry ], [ %t.next, %done ]
  %more = icmp slt i64 %t, %times
  br i1 %more, label %asked, label %leave
asked:
  %stop = getelementptr i64, ptr %progress, i64 1
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %halt = icmp ne i64 %flag, 0
  br i1 %halt, label %leave, label %head
head:
  %i = phi i64 [ 0, %asked ], [ %i.next, %next ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %body, label %done
body:
  %at = mul i64 %i, {columns}
  %f.index = add i64 %at, {kernel_column}
  %f.at = getelementptr i64, ptr %table, i64 %f.index
  %f.word = load i64, ptr %f.at, align 8
  %kernel = inttoptr i64 %f.word to ptr
  %a.index = add i64 %at, {arguments_column}
  %a.at = getelementptr i64, ptr %table, i64 %a.index
  %a.word = load i64, ptr %a.at, align 8
  %arguments = inttoptr i64 %a.word to ptr
  %status = call i64 %kernel(ptr %arguments, i64 0, i64 1, i64 0)
  %bad = icmp ne i64 %status, 0
  br i1 %bad, label %fail, label %next
next:
  %i.next = add i64 %i, 1
  br label %head
fail:
  %where = getelementptr i64, ptr %progress, i64 2
  store i64 %i, ptr %where, align 8
  ret i64 %status
done:
  %t.next = add i64 %t, 1
  store atomic i64 %t.next, ptr %progress monotonic, align 8
  br label %again
leave:
  ret i64 0
}}
"""

_RUN = """
declare i32 @clock_gettime(i32, ptr)

define internal i64 @now() {{
  %moment = alloca [2 x i64], align 8
  call i32 @clock_gettime(i32 {clock}, ptr %moment)
  %seconds = load i64, ptr %moment
  %rest.at = getelementptr i64, ptr %moment, i64 1
  %rest = load i64, ptr %rest.at
  %whole = mul i64 %seconds, 1000000000
  %all = add i64 %whole, %rest
  ret i64 %all
}}

define {linkage} i64 @{name}(ptr %context, i64 %times) nounwind {{
entry:
  store atomic i64 0, ptr %context monotonic, align 8
  %table.at = getelementptr i64, ptr %context, i64 {table}
  %table.word = load i64, ptr %table.at
  %table = inttoptr i64 %table.word to ptr
  %count.at = getelementptr i64, ptr %context, i64 {count}
  %count = load i64, ptr %count.at
  %pool.at = getelementptr i64, ptr %context, i64 {pool}
  %pool.word = load i64, ptr %pool.at
  %pool = inttoptr i64 %pool.word to ptr
  %plain = icmp eq i64 %pool.word, 0
  br i1 %plain, label %untimed, label %timed
untimed:
  %s.plain = call i64 @alone(ptr %table, i64 %count, i64 %times, ptr %context)
  ret i64 %s.plain
timed:
  %stop = getelementptr i64, ptr %context, i64 {stop}
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %wanted = icmp eq i64 %flag, 0
  %some = icmp sgt i64 %times, 0
  %due = and i1 %wanted, %some
  br i1 %due, label %prepare, label %nothing
nothing:
  ret i64 0
prepare:
  %threads.at = getelementptr i64, ptr %context, i64 {threads}
  %threads = load i64, ptr %threads.at
  %available.at = getelementptr i64, ptr %pool, i64 {pool_threads}
  %available = load atomic i64, ptr %available.at monotonic, align 8
  %calls.at = getelementptr i64, ptr %context, i64 {calls}
  %calls = load i64, ptr %calls.at
  %runs.at = getelementptr i64, ptr %context, i64 {runs}
  %runs = load i64, ptr %runs.at
  %enough = icmp sle i64 %threads, %available
  %calls.left = icmp sgt i64 %calls, 0
  %runs.left = icmp sgt i64 %runs, 0
  %left = and i1 %calls.left, %runs.left
  %ready = and i1 %enough, %left
  br i1 %ready, label %begin, label %ask
begin:
  %fewer = icmp slt i64 %times, %runs
  %n = select i1 %fewer, i64 %times, i64 %runs
  %from = call i64 @now()
  %several = icmp sgt i64 %threads, 1
  br i1 %several, label %try, label %single
try:
  %free = call i1 @take(ptr %pool)
  br i1 %free, label %together, label %single
together:
  %s.together = call i64 @lead(ptr %pool, i64 %threads, i64 %table.word, i64 %count, i64 %n, ptr %context)
  br label %ran
single:
  %s.single = call i64 @alone(ptr %table, i64 %count, i64 %n, ptr %context)
  br label %ran
ran:
  %s = phi i64 [ %s.together, %together ], [ %s.single, %single ]
  %to = call i64 @now()
  %took = sub i64 %to, %from
  %spent.at = getelementptr i64, ptr %context, i64 {nanoseconds}
  %spent = load i64, ptr %spent.at
  %spent.now = add i64 %spent, %took
  store i64 %spent.now, ptr %spent.at
  %calls.now = sub i64 %calls, 1
  store i64 %calls.now, ptr %calls.at
  %runs.now = sub i64 %runs, %n
  store i64 %runs.now, ptr %runs.at
  %sound = icmp eq i64 %s, 0
  %flag.now = load atomic i64, ptr %stop monotonic, align 8
  %still = icmp eq i64 %flag.now, 0
  %short = icmp slt i64 %n, %times
  %on = and i1 %sound, %still
  %unfinished = and i1 %on, %short
  br i1 %unfinished, label %ask, label %finished
finished:
  ret i64 %s
ask:
  ret i64 {ask}
}}
"""

METHOD_IR = """
declare ptr @graphexec_python_PyByteArray_AsString(ptr)
declare i64 @graphexec_python_PyLong_AsLongLong(ptr)
declare ptr @graphexec_python_PyLong_FromLongLong(i64)
declare ptr @graphexec_python_PyErr_Occurred()
declare ptr @graphexec_python_PyEval_SaveThread()
declare void @graphexec_python_PyEval_RestoreThread(ptr)

define ptr @{name}(ptr %self, ptr %argument) {{
entry:
  %times = call i64 @graphexec_python_PyLong_AsLongLong(ptr %argument)
  %odd = icmp eq i64 %times, -1
  br i1 %odd, label %look, label %fine
look:
  %error = call ptr @graphexec_python_PyErr_Occurred()
  %none = icmp eq ptr %error, null
  br i1 %none, label %fine, label %raise
raise:
  ret ptr null
fine:
  %context = call ptr @graphexec_python_PyByteArray_AsString(ptr %self)
  %thread = call ptr @graphexec_python_PyEval_SaveThread()
  %status = call i64 @run(ptr %context, i64 %times)
  call void @graphexec_python_PyEval_RestoreThread(ptr %thread)
  %result = call ptr @graphexec_python_PyLong_FromLongLong(i64 %status)
  ret ptr %result
}}
"""

CPYTHON_SYMBOLS = (
    "PyByteArray_AsString", "PyLong_AsLongLong", "PyLong_FromLongLong", "PyErr_Occurred", "PyEval_SaveThread",
    "PyEval_RestoreThread",
)  # fmt: skip

_ONE_ARGUMENT = 8
"""METH_O."""


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


def running_ir(name: str, linkage: str) -> list[str]:
    """IR of ``run``, under a name."""
    words = {word.name.lower(): int(word) for word in CallWord}
    words |= {"pool_threads": int(PoolWord.THREADS), "ask": ASK, "clock": 6 if sys.platform == "darwin" else 1}
    return [thread_pool_ir.leading(), _alone("alone", "internal"), _RUN.format(name=name, linkage=linkage, **words)]


def _alone(name: str, linkage: str) -> str:
    """IR of ``alone``, under a name."""
    columns = {f"{column.name.lower()}_column": int(column) for column in Column}
    return _ALONE.format(name=name, linkage=linkage, columns=len(Column), **columns)


def _loaded(role: str, make: Callable[[str], list[str]]) -> int:
    """The address of the function whose IR ``make(name)`` returns."""
    name = toolchain.symbol_name(role, fingerprint.environment(), *make(role))
    return linker.obtain(name, lambda: (["\n".join(make(name))], name), written=True)


@toolchain.once
def alone() -> Callable[[int, int, int, int], int]:
    """``alone(table, count, times, progress)``: runs a table ``times`` times on this thread and returns a status.

    ``progress`` is the address of a call context; only its first three words are used.
    """
    address = _loaded("alone", lambda name: [_alone(name, "")])
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return prototype(address)


@toolchain.once
def serve() -> Callable[[int, int], int]:
    """``serve(state, thread)``: see `thread_pool_ir`."""
    address = _loaded("serve", lambda name: [thread_pool_ir.serving(name)])
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


def entry(context: bytearray) -> Callable[[int], int]:
    """``call(times)``: runs a program without the GIL and returns a status, or ASK. It keeps the call context alive."""
    maker = method_maker()
    return _by_ctypes(context) if maker is None else maker(context)


@toolchain.once
def _run() -> Callable[[Any, int], int]:
    address = _loaded("run", lambda name: running_ir(name, ""))
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


def _by_ctypes(context: bytearray) -> Callable[[int], int]:
    return functools.partial(_run(), (ctypes.c_int64 * CALL_WORDS).from_buffer(context))


@toolchain.once
def method_maker() -> Callable[[bytearray], Callable[[int], int]] | None:
    """A function that makes the method of a call context; None if this Python lacks a function that the method calls."""
    needed = (*CPYTHON_SYMBOLS, "PyCFunction_NewEx")
    if sys.implementation.name != "cpython" or not all(hasattr(ctypes.pythonapi, name) for name in needed):
        return None
    for name in CPYTHON_SYMBOLS:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        if address is None:
            return None
        toolchain.add_symbol(f"graphexec_python_{name}", address)
    function = _loaded("method", lambda name: [*running_ir("run", "internal"), METHOD_IR.format(name=name)])
    definition = _MethodDef(b"run", function, _ONE_ARGUMENT, b"run(times): a status")
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    new: Any = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
    at = ctypes.addressof(definition)

    def make(context: bytearray, definition: _MethodDef = definition) -> Callable[[int], int]:  # it must outlive every method
        method: Callable[[int], int] = new(at, context, None)
        return method

    return make
