"""numba_runtime: our versions of the runtime functions that Numba's code calls, so that loading a kernel does not import Numba.

`numba_attempt_nocopy_reshape` computes the strides of a reshaped array, or reports that none exist; the rule is NumPy's.
`NRT_MemInfo_call_dtor` frees what a kernel allocated; a kernel that allocates nothing refers to it but never calls it.
"""

from __future__ import annotations

SYMBOLS = ("numba_attempt_nocopy_reshape", "NRT_MemInfo_call_dtor")

_DESTRUCTOR = """
define void @{name}(ptr %meminfo) {{
  ret void
}}
"""

# Groups of old axes and groups of new axes with the same number of elements are matched from the left. An old group must be
# contiguous in itself; the strides of the new group then follow from its last stride. Old axes of size 1 are left out. No element
# of an empty array is ever addressed, so every stride of its new axes is the element size, as in Numba.
_RESHAPE = """
define i32 @{name}(i64 %all, ptr %all.dims, ptr %all.strides, i64 %n, ptr %dims, ptr %strides, i64 %item, i32 %fortran) {{
entry:
  %old.dims = alloca i64, i64 %all
  %old.strides = alloca i64, i64 %all
  br label %pick
pick:
  %p = phi i64 [ 0, %entry ], [ %p.next, %picked ]
  %old = phi i64 [ 0, %entry ], [ %old.next, %picked ]
  %elements = phi i64 [ 1, %entry ], [ %elements.next, %picked ]
  %p.more = icmp slt i64 %p, %all
  br i1 %p.more, label %look, label %count
look:
  %look.dim.at = getelementptr i64, ptr %all.dims, i64 %p
  %look.dim = load i64, ptr %look.dim.at
  %look.stride.at = getelementptr i64, ptr %all.strides, i64 %p
  %look.stride = load i64, ptr %look.stride.at
  %elements.next = mul i64 %elements, %look.dim
  %keep.dim = getelementptr i64, ptr %old.dims, i64 %old
  %keep.stride = getelementptr i64, ptr %old.strides, i64 %old
  store i64 %look.dim, ptr %keep.dim
  store i64 %look.stride, ptr %keep.stride
  %one = icmp eq i64 %look.dim, 1
  %old.more = add i64 %old, 1
  %old.next = select i1 %one, i64 %old, i64 %old.more
  br label %picked
picked:
  %p.next = add i64 %p, 1
  br label %pick
count:
  %c = phi i64 [ 0, %pick ], [ %c.next, %counted ]
  %wanted = phi i64 [ 1, %pick ], [ %wanted.next, %counted ]
  %c.more = icmp slt i64 %c, %n
  br i1 %c.more, label %counted, label %compare
counted:
  %c.at = getelementptr i64, ptr %dims, i64 %c
  %c.dim = load i64, ptr %c.at
  %wanted.next = mul i64 %wanted, %c.dim
  %c.next = add i64 %c, 1
  br label %count
compare:
  %differ = icmp ne i64 %wanted, %elements
  br i1 %differ, label %no, label %equal
equal:
  %empty = icmp eq i64 %wanted, 0
  br i1 %empty, label %tail, label %groups
groups:
  %oi = phi i64 [ 0, %equal ], [ %oj, %spread.done ]
  %ni = phi i64 [ 0, %equal ], [ %nj, %spread.done ]
  %last = phi i64 [ %item, %equal ], [ %fine, %spread.done ]
  %old.left = icmp slt i64 %oi, %old
  %new.left = icmp slt i64 %ni, %n
  %both = and i1 %old.left, %new.left
  br i1 %both, label %open, label %tail
open:
  %old.first.at = getelementptr i64, ptr %old.dims, i64 %oi
  %old.first = load i64, ptr %old.first.at
  %new.first.at = getelementptr i64, ptr %dims, i64 %ni
  %new.first = load i64, ptr %new.first.at
  %oj.first = add i64 %oi, 1
  %nj.first = add i64 %ni, 1
  br label %match
match:
  %oj = phi i64 [ %oj.first, %open ], [ %oj, %grow.new ], [ %oj.next, %grow.old ]
  %nj = phi i64 [ %nj.first, %open ], [ %nj.next, %grow.new ], [ %nj, %grow.old ]
  %old.size = phi i64 [ %old.first, %open ], [ %old.size, %grow.new ], [ %old.grown, %grow.old ]
  %new.size = phi i64 [ %new.first, %open ], [ %new.grown, %grow.new ], [ %new.size, %grow.old ]
  %same = icmp eq i64 %old.size, %new.size
  br i1 %same, label %check, label %grow
grow:
  %fewer = icmp slt i64 %new.size, %old.size
  br i1 %fewer, label %grow.new, label %grow.old
grow.new:
  %grow.new.at = getelementptr i64, ptr %dims, i64 %nj
  %grow.new.dim = load i64, ptr %grow.new.at
  %new.grown = mul i64 %new.size, %grow.new.dim
  %nj.next = add i64 %nj, 1
  br label %match
grow.old:
  %grow.old.at = getelementptr i64, ptr %old.dims, i64 %oj
  %grow.old.dim = load i64, ptr %grow.old.at
  %old.grown = mul i64 %old.size, %grow.old.dim
  %oj.next = add i64 %oj, 1
  br label %match
check:
  %k = phi i64 [ %oi, %match ], [ %k.next, %contiguous ]
  %k.next = add i64 %k, 1
  %k.more = icmp slt i64 %k.next, %oj
  %k.stride.at = getelementptr i64, ptr %old.strides, i64 %k
  %fine = load i64, ptr %k.stride.at
  br i1 %k.more, label %pair, label %spread
pair:
  %next.dim.at = getelementptr i64, ptr %old.dims, i64 %k.next
  %next.dim = load i64, ptr %next.dim.at
  %next.stride.at = getelementptr i64, ptr %old.strides, i64 %k.next
  %next.stride = load i64, ptr %next.stride.at
  %expected = mul i64 %next.dim, %next.stride
  %fits = icmp eq i64 %fine, %expected
  br i1 %fits, label %contiguous, label %no
contiguous:
  br label %check
spread:
  %s = phi i64 [ %nj, %check ], [ %s.before, %spread.on ]
  %stride = phi i64 [ %fine, %check ], [ %stride.next, %spread.on ]
  %s.more = icmp sgt i64 %s, %ni
  br i1 %s.more, label %spread.on, label %spread.done
spread.on:
  %s.before = sub i64 %s, 1
  %s.at = getelementptr i64, ptr %strides, i64 %s.before
  store i64 %stride, ptr %s.at
  %s.dim.at = getelementptr i64, ptr %dims, i64 %s.before
  %s.dim = load i64, ptr %s.dim.at
  %stride.next = mul i64 %stride, %s.dim
  br label %spread
spread.done:
  br label %groups
tail:
  %t = phi i64 [ 0, %equal ], [ %ni, %groups ], [ %t.next, %tail.on ]
  %t.stride = phi i64 [ %item, %equal ], [ %last, %groups ], [ %t.stride, %tail.on ]
  %t.more = icmp slt i64 %t, %n
  br i1 %t.more, label %tail.on, label %yes
tail.on:
  %t.at = getelementptr i64, ptr %strides, i64 %t
  store i64 %t.stride, ptr %t.at
  %t.next = add i64 %t, 1
  br label %tail
yes:
  ret i32 1
no:
  ret i32 0
}}
"""


def source(symbol: str, name: str) -> str:
    """IR of one of the SYMBOLS under another name."""
    return {"numba_attempt_nocopy_reshape": _RESHAPE, "NRT_MemInfo_call_dtor": _DESTRUCTOR}[symbol].format(name=name)
