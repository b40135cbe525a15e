"""emitter: writes LLVM vector IR: the operations that the kernels of the matrix product share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llvmlite import ir

from graphexec.gemm.target import Target

I8, I32, I64, POINTER = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.PointerType()
LINE = 64  #: bytes of a cache line
ADD_C, ADD_BIAS = 1, 2  #: bits of a kernel's `flags`


@dataclass
class Emitter:
    """Writes kernels of one target into one LLVM module."""

    module: Any
    target: Target

    @cached_property
    def element(self) -> Any:
        return ir.FloatType() if self.target.item == 4 else ir.DoubleType()

    def vector(self, lanes: int | None = None) -> Any:
        return ir.VectorType(self.element, self.target.lanes if lanes is None else lanes)

    def declare(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, arguments), name)

    def function(self, name: str, arguments: int, body: Callable[..., None]) -> Any:
        """The private function `name` of int64 arguments, written by `body(builder, *arguments)` if it is new."""
        full = f"graphexec_{name}_{self.target.tag}"
        found = self.module.globals.get(full)
        if found is not None:
            return found
        made = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [I64] * arguments), full)
        made.linkage = "linkonce_odr"
        made.attributes.add("noinline")
        made.attributes.add("nounwind")
        builder = ir.IRBuilder(made.append_basic_block("entry"))
        body(builder, *made.args)
        builder.ret_void()
        return made

    # --- vectors and memory -------------------------------------------------------------------------------------

    def at(self, builder: Any, base: Any, *offsets: Any) -> Any:
        """Address `base` (an integer) plus offsets counted in elements, as a pointer to an element."""
        pointer = builder.inttoptr(base, POINTER) if base.type == I64 else base
        for offset in offsets:
            if offset != 0:
                pointer = builder.gep(pointer, [I64(offset) if isinstance(offset, int) else offset],
                                      source_etype=self.element)
        return pointer

    def load(self, builder: Any, pointer: Any, mask: Any = None, lanes: int | None = None) -> Any:
        vector = self.vector(lanes)
        if mask is None:
            return builder.load(pointer, align=self.target.item, typ=vector)
        name = f"llvm.masked.load.v{vector.count}f{self.target.item * 8}.p0"
        call = self.declare(name, vector, [pointer.type, I32, mask.type, vector])
        return builder.call(call, [pointer, I32(self.target.item), mask, self.zeros])

    def store(self, builder: Any, value: Any, pointer: Any, mask: Any = None) -> None:
        if mask is None:
            builder.store(value, pointer).align = self.target.item
            return
        name = f"llvm.masked.store.v{value.type.count}f{self.target.item * 8}.p0"
        call = self.declare(name, ir.VoidType(), [value.type, pointer.type, I32, mask.type])
        builder.call(call, [value, pointer, I32(self.target.item), mask])

    def opaque(self, builder: Any, pointer: Any) -> Any:
        """The same pointer, passed through empty assembly so that the optimizer does not see how it was computed."""
        nothing = ir.InlineAsm(ir.FunctionType(pointer.type, [pointer.type]), "", "=r,0")
        return builder.call(nothing, [pointer])

    def prefetch(self, builder: Any, pointer: Any, write: bool = False) -> None:
        """Prefetches the cache line at `pointer`; an address past the end of the operand does no harm."""
        call = self.declare("llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
        builder.call(call, [pointer, I32(int(write)), I32(3), I32(1)])

    @property
    def zeros(self) -> Any:
        return ir.Constant(self.vector(), [0.0] * self.target.lanes)

    def splat(self, builder: Any, scalar: Any) -> Any:
        return splat(builder, scalar, self.target.lanes)

    def fma(self, builder: Any, x: Any, y: Any, z: Any) -> Any:
        if not self.target.fma:
            return builder.fadd(builder.fmul(x, y), z)
        call = self.declare(f"llvm.fma.v{self.target.lanes}f{self.target.item * 8}", x.type, [x.type] * 3)
        return builder.call(call, [x, y, z])

    def mask(self, builder: Any, count: Any, start: int = 0) -> Any:
        """The lanes below `count` - `start`, at most all of them."""
        lanes = self.target.lanes
        iota = ir.Constant(ir.VectorType(I32, lanes), list(range(start, start + lanes)))
        return builder.icmp_signed("<", iota, splat(builder, builder.trunc(count, I32), lanes))


@dataclass(frozen=True, eq=False)
class Int:
    """An int64 (or a truth value) of the program being written, with the operators of non-negative integers."""

    builder: Any
    value: Any

    def _with(self, operation: str, other: "Int | int", swap: bool = False) -> "Int":
        right = other.value if isinstance(other, Int) else self.value.type(other)
        pair = (right, self.value) if swap else (self.value, right)
        return Int(self.builder, getattr(self.builder, operation)(*pair))

    def _compared(self, sign: str, other: "Int | int") -> "Int":
        right = other.value if isinstance(other, Int) else I64(other)
        return Int(self.builder, self.builder.icmp_signed(sign, self.value, right))

    def __add__(self, other: "Int | int") -> "Int":
        return self._with("add", other)

    def __sub__(self, other: "Int | int") -> "Int":
        return self._with("sub", other)

    def __mul__(self, other: "Int | int") -> "Int":
        return self._with("mul", other)

    def __floordiv__(self, other: "Int | int") -> "Int":
        return self._with("udiv", other)

    def __mod__(self, other: "Int | int") -> "Int":
        return self._with("urem", other)

    def __and__(self, other: "Int | int") -> "Int":
        return self._with("and_", other)

    def __or__(self, other: "Int | int") -> "Int":
        return self._with("or_", other)

    def __lt__(self, other: "Int | int") -> "Int":
        return self._compared("<", other)

    def __le__(self, other: "Int | int") -> "Int":
        return self._compared("<=", other)

    def __gt__(self, other: "Int | int") -> "Int":
        return self._compared(">", other)

    def __ge__(self, other: "Int | int") -> "Int":
        return self._compared(">=", other)

    def equals(self, other: "Int | int") -> "Int":
        return self._compared("==", other)

    def differs(self, other: "Int | int") -> "Int":
        return self._compared("!=", other)

    def pick(self, yes: "Int | int", no: "Int | int") -> "Int":
        """`yes` where this truth value holds, else `no`; both are evaluated."""
        values = [x.value if isinstance(x, Int) else I64(x) for x in (yes, no)]
        return Int(self.builder, self.builder.select(self.value, *values))

    def at_most(self, other: "Int | int") -> "Int":
        return (self < other).pick(self, other)

    def at_least(self, other: "Int | int") -> "Int":
        return (self < other).pick(other, self)

    def up(self, step: int) -> "Int":
        """The number of steps that cover this many."""
        return (self + (step - 1)) // step

    @contextmanager
    def holds(self) -> Iterator[None]:
        """A block that runs if this truth value holds."""
        with self.builder.if_then(self.value):
            yield

    def either(self) -> Any:
        """Two blocks, `as (yes, no)`."""
        return self.builder.if_else(self.value)

    @contextmanager
    def each(self, step: int = 1) -> Iterator["Int"]:
        """A loop over the numbers below this one."""
        with Int(self.builder, I64(0)).to(self, step) as index:
            yield index

    @contextmanager
    def to(self, stop: "Int", step: "Int | int" = 1) -> Iterator["Int"]:
        """A loop from this number up to, and without, `stop`."""
        builder = self.builder
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        entry = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        phi = builder.phi(I64)
        phi.add_incoming(self.value, entry)
        index = Int(builder, phi)
        builder.cbranch((index < stop).value, body, end)
        builder.position_at_end(body)
        yield index
        phi.add_incoming((index + step).value, builder.block)
        builder.branch(head)
        builder.position_at_end(end)


class Loop:
    """A counted loop under construction: declare its phis, write its body, then give each phi its `next` value."""

    def __init__(self, builder: Any, count: Any, other: Any = None) -> None:
        """The loop is entered from the builder's block, and from the open block `other` if there is one."""
        self.builder, self.count, self.entry, self.other = builder, count, builder.block, other
        self.body = builder.append_basic_block("body")
        self.carried: list[tuple[Any, Any]] = []
        builder.branch(self.body)
        if other is not None:
            builder.position_at_end(other)
            builder.branch(self.body)
        builder.position_at_end(self.body)
        self.index = self.phi(I64(0))

    def phi(self, first: Any, from_other: Any = None) -> Any:
        """A carried value that is `first` at the start, or `from_other` if the loop is entered from there."""
        phi = self.builder.phi(first.type)
        phi.add_incoming(first, self.entry)
        if self.other is not None:
            phi.add_incoming(first if from_other is None else from_other, self.other)
        return phi

    def pointer(self, first: Any, step: Any, element: Any) -> Any:
        """A pointer that advances by `step` elements."""
        phi = self.phi(first)
        self.carried.append((phi, (step, element)))
        return phi

    def next(self, phi: Any, value: Any) -> None:
        phi.add_incoming(value, self.builder.block)

    def close(self) -> None:
        builder = self.builder
        for phi, (step, element) in self.carried:
            phi.add_incoming(builder.gep(phi, [step], source_etype=element), builder.block)
        following = builder.add(self.index, I64(1))
        self.index.add_incoming(following, builder.block)
        end = builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed("<", following, self.count), self.body, end)
        builder.position_at_end(end)


@contextmanager
def counted(builder: Any, count: Any, other: Any = None) -> Iterator[Loop]:
    """A loop that runs `count` >= 1 times; declare its phis before the rest of its body."""
    loop = Loop(builder, count, other)
    yield loop
    loop.close()


def repeated(builder: Any, count: Any, state: list[Any], body: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Applies `body` to a list of values `count` >= 0 times, in a loop that LLVM does not unroll further."""
    head, inside, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    entry = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    left = builder.phi(I64)
    left.add_incoming(count, entry)
    carried = []
    for value in state:
        carried.append(builder.phi(value.type))
        carried[-1].add_incoming(value, entry)
    builder.cbranch(builder.icmp_signed(">", left, I64(0)), inside, end)
    builder.position_at_end(inside)
    results = body(list(carried))
    left.add_incoming(builder.sub(left, I64(1)), builder.block)
    for phi, value in zip(carried, results, strict=True):
        phi.add_incoming(value, builder.block)
    module = builder.module
    again = builder.branch(head)
    again.set_metadata("llvm.loop", module.add_metadata([module.add_metadata(["llvm.loop.unroll.disable"])]))
    builder.position_at_end(end)
    return carried


def shuffle(builder: Any, x: Any, y: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    return shuffle(builder, builder.insert_element(undefined, scalar, I32(0)), undefined, [0] * lanes)
