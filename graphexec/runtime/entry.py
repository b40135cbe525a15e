"""From Python into a program and back: one call, one integer in, one integer out.

What a call needs to know lies in a *block* of words, prepared once for a program. ``run(block, times)`` reads it, runs the
table on this thread or with the crew, and takes the time where somebody wants to know it. CPython calls it as a method
whose ``self`` is the block, a bytearray, made of IR like all else: the layout of `PyMethodDef` and the functions that the
method calls are part of CPython's stable ABI. Their addresses are given to the linker when the code is loaded and are not
part of it, so it can be kept on disk. Where there are none of them, ctypes makes the call, in half a microsecond more.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

from graphexec.abi import ASK, CALL_WORDS, CallWord, PoolWord
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
  %at = mul i64 %i, 3
  %f.at = getelementptr i64, ptr %table, i64 %at
  %f.word = load i64, ptr %f.at, align 8
  %f = inttoptr i64 %f.word to ptr
  %r.index = add i64 %at, 1
  %r.at = getelementptr i64, ptr %table, i64 %r.index
  %r.word = load i64, ptr %r.at, align 8
  %r = inttoptr i64 %r.word to ptr
  %status = call i64 %f(ptr %r, i64 0, i64 1, i64 0)
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

define {linkage} i64 @{name}(ptr %block, i64 %times) nounwind {{
entry:
  store atomic i64 0, ptr %block monotonic, align 8
  %table.at = getelementptr i64, ptr %block, i64 {table}
  %table.word = load i64, ptr %table.at
  %table = inttoptr i64 %table.word to ptr
  %count.at = getelementptr i64, ptr %block, i64 {count}
  %count = load i64, ptr %count.at
  %crew.at = getelementptr i64, ptr %block, i64 {pool}
  %crew.word = load i64, ptr %crew.at
  %crew = inttoptr i64 %crew.word to ptr
  %plain = icmp eq i64 %crew.word, 0
  br i1 %plain, label %untimed, label %timed
untimed:
  %s.plain = call i64 @alone(ptr %table, i64 %count, i64 %times, ptr %block)
  ret i64 %s.plain
timed:
  %stop = getelementptr i64, ptr %block, i64 {stop}
  %flag = load atomic i64, ptr %stop monotonic, align 8
  %wanted = icmp eq i64 %flag, 0
  %some = icmp sgt i64 %times, 0
  %due = and i1 %wanted, %some
  br i1 %due, label %prepare, label %nothing
nothing:
  ret i64 0
prepare:
  %threads.at = getelementptr i64, ptr %block, i64 {threads}
  %threads = load i64, ptr %threads.at
  %members.at = getelementptr i64, ptr %crew, i64 {members}
  %members = load atomic i64, ptr %members.at monotonic, align 8
  %calls.at = getelementptr i64, ptr %block, i64 {calls}
  %calls = load i64, ptr %calls.at
  %runs.at = getelementptr i64, ptr %block, i64 {runs}
  %runs = load i64, ptr %runs.at
  %enough = icmp sle i64 %threads, %members
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
  %free = call i1 @take(ptr %crew)
  br i1 %free, label %together, label %single
together:
  %s.together = call i64 @lead(ptr %crew, i64 %threads, i64 %table.word, i64 %count, i64 %n, ptr %block)
  br label %ran
single:
  %s.single = call i64 @alone(ptr %table, i64 %count, i64 %n, ptr %block)
  br label %ran
ran:
  %s = phi i64 [ %s.together, %together ], [ %s.single, %single ]
  %to = call i64 @now()
  %took = sub i64 %to, %from
  %spent.at = getelementptr i64, ptr %block, i64 {nanoseconds}
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
  br i1 %unfinished, label %ask, label %over
over:
  ret i64 %s
ask:
  ret i64 {ask}
}}
"""

_METHOD = """
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
  %block = call ptr @graphexec_python_PyByteArray_AsString(ptr %self)
  %thread = call ptr @graphexec_python_PyEval_SaveThread()
  %status = call i64 @run(ptr %block, i64 %times)
  call void @graphexec_python_PyEval_RestoreThread(ptr %thread)
  %result = call ptr @graphexec_python_PyLong_FromLongLong(i64 %status)
  ret ptr %result
}}
"""

_USED = (
    "PyByteArray_AsString", "PyLong_AsLongLong", "PyLong_FromLongLong", "PyErr_Occurred", "PyEval_SaveThread",
    "PyEval_RestoreThread",
)  # fmt: skip

_ONE_ARGUMENT = 8
"""METH_O."""


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


def _running(name: str, linkage: str) -> list[str]:
    """IR of ``run``, under a name."""
    words = {word.name.lower(): int(word) for word in CallWord}
    words |= {"members": int(PoolWord.THREADS), "ask": ASK, "clock": 6 if sys.platform == "darwin" else 1}
    alone = _ALONE.format(name="alone", linkage="internal")
    return [thread_pool_ir.leading(), alone, _RUN.format(name=name, linkage=linkage, **words)]


def _loaded(kind: str, make: Callable[[str], list[str]]) -> int:
    """The address of a function whose IR ``make`` gives for its name."""
    name = toolchain.symbol_name(kind, fingerprint.environment(), *make(kind))
    return linker.obtain(name, lambda: (["\n".join(make(name))], name), written=True)


@functools.cache
def alone() -> Callable[[int, int, int, int], int]:
    """``alone(table, count, times, progress)``: runs a table ``times`` times on this thread; a status.

    ``progress`` is the address of a block, of which the first three words are used.
    """
    address = _loaded("alone", lambda name: [_ALONE.format(name=name, linkage="")])
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return prototype(address)


@functools.cache
def serve() -> Callable[[int, int], int]:
    """``serve(state, ith)``: see `thread_pool_ir`."""
    address = _loaded("serve", lambda name: [thread_pool_ir.serving(name)])
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


def entry(block: bytearray) -> Callable[[int], int]:
    """``call(times)``: runs the program of a block, without the GIL; a status, or ASK. It keeps the block alive."""
    maker = _method_maker()
    return _by_ctypes(block) if maker is None else maker(block)


@functools.cache
def _run() -> Callable[[Any, int], int]:
    address = _loaded("run", lambda name: _running(name, ""))
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


def _by_ctypes(block: bytearray) -> Callable[[int], int]:
    return functools.partial(_run(), (ctypes.c_int64 * CALL_WORDS).from_buffer(block))


@functools.cache
def _method_maker() -> Callable[[bytearray], Callable[[int], int]] | None:
    """Makes a block's method; None where Python has not what it takes."""
    if sys.implementation.name != "cpython" or not all(hasattr(ctypes.pythonapi, name) for name in (*_USED, "PyCFunction_NewEx")):
        return None
    for name in _USED:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        assert address is not None
        toolchain.add_symbol(f"graphexec_python_{name}", address)
    function = _loaded("method", lambda name: [*_running("run", "internal"), _METHOD.format(name=name)])
    definition = _MethodDef(b"run", function, _ONE_ARGUMENT, b"run(times): a status")
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    new: Any = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
    at = ctypes.addressof(definition)

    def make(block: bytearray, definition: _MethodDef = definition) -> Callable[[int], int]:  # which must outlive every method
        method: Callable[[int], int] = new(at, block, None)
        return method

    return make
