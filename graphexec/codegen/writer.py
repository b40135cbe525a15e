"""writer: writes the LLVM IR of one kernel as text: numbered values, loops, conversions, and the module around them.

A kernel is a C function ``i64 kernel(ptr record, i64 ith, i64 nth, i64 thread_id)``. It computes piece `ith` of `nth` and returns a
status, 0 for success; `thread_id` selects its part of scratch memory. The record is an array of 64-bit words: sizes, addresses,
strides in bytes, attributes. Sizes are therefore data, and one kernel serves every size.

Loops are written here once, for every op. The work on an element is a call of a scalar function compiled by Numba, which LLVM
inlines and vectorises. The loads and stores of an innermost loop are marked as independent between iterations
(``llvm.loop.parallel_accesses``). This holds because an output is either another buffer than an operand or exactly the same
elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

LLVM_TYPES = {"float32": "float", "float64": "double", "int32": "i32", "int64": "i64", "bool": "i8"}
ITEM = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}
"""Bytes of an element."""

VECTORS = 4
"""Vectors in flight in an innermost loop: an element is a long chain of dependent operations, and one vector alone would wait."""

# Metadata nodes of a kernel's module, by number; each is defined in `_metadata`.

INVARIANT = "!90"
"""On a load: the word never changes while the kernel runs, so LLVM may move or merge the load freely."""

PARALLEL_LOOP = "!91"
"""On the branch back to a loop's head: iterations are independent, and how many vectors to interleave."""

PARALLEL_ACCESSES = "!92"
"""In PARALLEL_LOOP: no access in ACCESS_GROUP depends on another iteration; LLVM then vectorises without checks at run time."""

INTERLEAVE = "!93"
"""In PARALLEL_LOOP: the number of vectors that LLVM works on side by side."""

ACCESS_GROUP = "!94"
"""On a load or store: it belongs to the accesses that PARALLEL_ACCESSES declares independent."""

NO_UNROLL = "!95"
"""In PARALLEL_LOOP: keeps LLVM from unrolling a short loop before it has vectorised it."""

_INTRINSICS = "\n".join(
    f"declare {t} @llvm.fptosi.sat.{t}.{s}({f})" for t in ("i32", "i64") for s, f in (("f32", "float"), ("f64", "double"))
) + "\ndeclare i64 @llvm.cttz.i64(i64, i1 immarg)"


class IRWriter:
    """Collects the lines of one kernel's body. Methods that compute something return the name of the LLVM value."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.functions: dict[str, str] = {}
        """Functions of the module that the kernel calls, by name."""

    # -- lines and names

    def name(self, hint: str = "v") -> str:
        self.count += 1
        return f"%{hint}{self.count}"

    def put(self, line: str) -> None:
        self.lines.append("  " + line)

    def let(self, expression: str, hint: str = "v") -> str:
        name = self.name(hint)
        self.put(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name[1:]}:")

    # -- loops

    @contextmanager
    def loop(self, low: str, high: str, *, independent: bool = False, step: int = 1) -> Iterator[str]:
        """``for index in range(low, high, step)``; ``independent`` marks its accesses in ACCESS_GROUP as parallel."""
        index, head, body, latch, done = (self.name(h) for h in ("i", "head", "body", "latch", "done"))
        start, following = self.name("start"), index + ".next"
        self.put(f"br label {start}")
        self.label(start)
        self.put(f"br label {head}")
        self.label(head)
        self.put(f"{index} = phi i64 [ {low}, {start} ], [ {following}, {latch} ]")
        more = self.let(f"icmp slt i64 {index}, {high}")
        self.put(f"br i1 {more}, label {body}, label {done}")
        self.label(body)
        yield index
        self.put(f"br label {latch}")
        self.label(latch)
        self.put(f"{following} = add nsw i64 {index}, {step}")
        self.put(f"br label {head}" + (f", !llvm.loop {PARALLEL_LOOP}" if independent else ""))
        self.label(done)

    @contextmanager
    def loops(self, bounds: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
        """Nested loops, outermost first; gives their indices."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(low, high)) for low, high in bounds]

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """What is inside runs only if ``condition``, an expression, holds."""
        yes, done = self.name("yes"), self.name("done")
        self.put(f"br i1 {self.let(condition)}, label {yes}, label {done}")
        self.label(yes)
        yield
        self.put(f"br label {done}")
        self.label(done)

    # -- arithmetic on sizes and indices

    def add(self, x: str, y: str) -> str:
        return self.let(f"add i64 {x}, {y}")

    def minimum(self, x: str, y: str | int) -> str:
        return self.let(f"select i1 {self.let(f'icmp slt i64 {x}, {y}')}, i64 {x}, i64 {y}")

    def round_down(self, x: str, multiple: int) -> str:
        """The largest multiple of a power of two that is not above x."""
        return self.let(f"and i64 {x}, {-multiple}")

    def divide_up(self, x: str, divisor: int) -> str:
        return self.let(f"sdiv i64 {self.let(f'add i64 {x}, {divisor - 1}')}, {divisor}")

    def share(self, n: str, unit: int = 1) -> tuple[str, str]:
        """Bounds of this piece of ``range(n)``: blocks of ``unit``, from ``blocks * ith // nth`` to ``blocks * (ith+1) // nth``."""
        blocks = n if unit == 1 else self.divide_up(n, unit)
        cuts = []
        for piece in ("%ith", self.let("add i64 %ith, 1")):
            cut = self.let(f"sdiv i64 {self.let(f'mul i64 {blocks}, {piece}')}, %nth")
            cuts.append(cut if unit == 1 else self.minimum(self.let(f"mul i64 {cut}, {unit}"), n))
        return cuts[0], cuts[1]

    # -- the record

    def word(self, index: int, hint: str = "w") -> str:
        """A 64-bit word of the record."""
        at = self.let(f"getelementptr i64, ptr %record, i64 {index}")
        return self.let(f"load i64, ptr {at}, !invariant.load {INVARIANT}", hint)

    def pointer(self, index: int) -> str:
        """An address in the record."""
        return self.let(f"inttoptr i64 {self.word(index)} to ptr", "p")

    def numbers(self, first: int, types: Sequence[str]) -> list[str]:
        """The attributes in the record, as doubles or 64-bit integers."""
        words = [self.word(first + k) for k in range(len(types))]
        return [self.let(f"bitcast i64 {w} to double") if t[0] == "f" else w for w, t in zip(words, types, strict=True)]

    # -- memory

    def element(self, kind: str, pointer: str, index: str) -> str:
        """The address of an element of an array of LLVM type ``kind``."""
        return self.let(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def advance(self, pointer: str, index: str, stride: str) -> str:
        """``pointer + index * stride``, in bytes."""
        return self.let(f"getelementptr i8, ptr {pointer}, i64 {self.let(f'mul i64 {index}, {stride}')}")

    def load(self, kind: str, pointer: str) -> str:
        """Loads a value as an access of the parallel loop."""
        return self.let(f"load {kind}, ptr {pointer}, !llvm.access.group {ACCESS_GROUP}")

    def store(self, kind: str, value: str, pointer: str) -> None:
        """Stores a value as an access of the parallel loop."""
        self.put(f"store {kind} {value}, ptr {pointer}, !llvm.access.group {ACCESS_GROUP}")

    # -- element types

    def convert(self, value: str, source: str, target: str) -> str:
        """Converts between element types; NaN becomes 0 and infinities saturate when the target is an integer."""
        if source == target:
            return value
        s, t = LLVM_TYPES[source], LLVM_TYPES[target]
        if target == "bool":
            test = f"fcmp une {s} {value}, 0.0" if source[0] == "f" else f"icmp ne {s} {value}, 0"
            return self.let(f"zext i1 {self.let(test)} to i8")
        if source[0] == "f" and target[0] == "f":
            return self.let(f"{'fpext' if s == 'float' else 'fptrunc'} {s} {value} to {t}")
        if source[0] == "f":
            return self.let(f"call {t} @llvm.fptosi.sat.{t}.{'f32' if s == 'float' else 'f64'}({s} {value})")
        if target[0] == "f":
            return self.let(f"{'uitofp' if source == 'bool' else 'sitofp'} {s} {value} to {t}")
        widen = ITEM[target] > ITEM[source]
        return self.let(f"{('zext' if source == 'bool' else 'sext') if widen else 'trunc'} {s} {value} to {t}")

    # -- the module

    def kernel_module(self, name: str, declarations: Sequence[str], vectors: int = VECTORS, unroll: bool = True) -> str:
        """The module of kernel ``name``. Without ``unroll``, LLVM vectorises a loop of few iterations before it may unroll it."""
        text = "\n".join(dict.fromkeys([*declarations, _INTRINSICS]))
        parameters = "ptr noalias readonly %record, i64 %ith, i64 %nth, i64 %thread_id"
        return (
            f'{text}\ndefine i64 @{name}({parameters}) "prefer-vector-width"="512" nounwind {{\nentry:\n'
            + "\n".join(self.lines)
            + "\n}\n"
            + "".join(self.functions.values())
            + _metadata(vectors, unroll)
        )

    def call_out_of_line(self, name: str, arguments: Mapping[str, str], make: Callable[[], IRWriter]) -> str:
        """Calls a function of the module; ``make`` writes its body if it is new. ``arguments`` are values by typed parameter.

        The function returns an i64, like the kernel.
        """
        if name not in self.functions:
            parameters = ", ".join(p.replace("ptr ", "ptr noalias ") for p in arguments)
            head = f'define internal i64 @{name}({parameters}) noinline "prefer-vector-width"="512" nounwind {{\nentry:\n'
            self.functions[name] = head + "\n".join(make().lines) + "\n}\n"
        given = ", ".join(f"{p.partition(' ')[0]} {value}" for p, value in arguments.items())
        return self.let(f"call i64 @{name}({given})")


def _metadata(vectors: int, unroll: bool) -> str:
    hints = [PARALLEL_ACCESSES, INTERLEAVE, *([] if unroll else [NO_UNROLL])]
    return f"""
{INVARIANT} = !{{}}
{PARALLEL_LOOP} = distinct !{{{", ".join([PARALLEL_LOOP, *hints])}}}
{PARALLEL_ACCESSES} = !{{!"llvm.loop.parallel_accesses", {ACCESS_GROUP}}}
{INTERLEAVE} = !{{!"llvm.loop.interleave.count", i32 {vectors}}}
{ACCESS_GROUP} = distinct !{{}}
{NO_UNROLL} = !{{!"llvm.loop.unroll.disable"}}
"""
