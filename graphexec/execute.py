"""run: the compiled loop that walks a program's table.

It knows addresses and integers only. The GIL is released while it runs; a kernel that returns a status other than 0 stops
it, and the caller learns which instruction that was.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from graphexec.native import fingerprint, library, toolchain

_LOOP = """
define i64 @{name}(ptr %table, i64 %count, i64 %times, ptr %progress) nounwind {{
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
  %status = call i64 %f(ptr %r, i64 0, i64 1)
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

PROGRESS_WORDS = 3
"""Times done, a flag that stops the loop before the next time, the instruction that failed."""


@functools.cache
def loop() -> Callable[[int, int, int, int], int]:
    """``loop(table, count, times, progress)``: runs a table of ``count`` instructions ``times`` times; a status.

    ``progress`` is the address of PROGRESS_WORDS 64-bit words.
    """
    name = toolchain.symbol_name("run", fingerprint.environment(), _LOOP)
    address = library.obtain(name, lambda: ([_LOOP.format(name=name)], name))
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return prototype(address)
