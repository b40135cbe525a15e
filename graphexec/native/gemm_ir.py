"""A small writer of LLVM vector IR: what the kernels of the matrix product have in common."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llvmlite import ir

from graphexec.native.gemm_target import Target

I32, I64 = ir.IntType(32), ir.IntType(64)


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
        full = f"graphexec_gemm_{self.target.isa}_f{self.target.item * 8}_{name}"
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
        pointer = builder.inttoptr(base, self.element.as_pointer()) if base.type == I64 else base
        for offset in offsets:
            pointer = builder.gep(pointer, [I64(offset) if isinstance(offset, int) else offset])
        return pointer

    def load(self, builder: Any, pointer: Any, mask: Any = None, lanes: int | None = None) -> Any:
        vector = self.vector(lanes)
        pointer = builder.bitcast(pointer, vector.as_pointer())
        if mask is None:
            value = builder.load(pointer)
            value.align = self.target.item
            return value
        name = f"llvm.masked.load.v{vector.count}f{self.target.item * 8}.p0"
        call = self.declare(name, vector, [pointer.type, I32, mask.type, vector])
        return builder.call(call, [pointer, I32(self.target.item), mask, self.zeros])

    def store(self, builder: Any, value: Any, pointer: Any, mask: Any = None) -> None:
        pointer = builder.bitcast(pointer, value.type.as_pointer())
        if mask is None:
            builder.store(value, pointer).align = self.target.item
            return
        name = f"llvm.masked.store.v{value.type.count}f{self.target.item * 8}.p0"
        call = self.declare(name, ir.VoidType(), [value.type, pointer.type, I32, mask.type])
        builder.call(call, [value, pointer, I32(self.target.item), mask])

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
        """Lanes below `count` - `start`; a count beyond the vector's end is all of it."""
        lanes = self.target.lanes
        iota = ir.Constant(ir.VectorType(I32, lanes), list(range(start, start + lanes)))
        return builder.icmp_signed("<", iota, splat(builder, builder.trunc(count, I32), lanes))

class Loop:
    """A counted loop under construction: declare what it carries, `start()`, write the body, `next()`."""

    def __init__(self, builder: Any, count: Any) -> None:
        self.builder, self.count = builder, count
        self.entry = builder.block
        self.body = builder.append_basic_block("body")
        self.carried: list[tuple[Any, Any]] = []
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.index = builder.phi(I64)
        self.index.add_incoming(I64(0), self.entry)

    def phi(self, first: Any) -> Any:
        phi = self.builder.phi(first.type)
        phi.add_incoming(first, self.entry)
        return phi

    def pointer(self, first: Any, step: Any) -> Any:
        """A pointer that advances by `step` elements."""
        phi = self.phi(first)
        self.carried.append((phi, step))
        return phi

    def next(self, phi: Any, value: Any) -> None:
        phi.add_incoming(value, self.builder.block)

    def close(self) -> None:
        builder = self.builder
        for phi, step in self.carried:
            phi.add_incoming(builder.gep(phi, [step]), builder.block)
        following = builder.add(self.index, I64(1))
        self.index.add_incoming(following, builder.block)
        end = builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed("<", following, self.count), self.body, end)
        builder.position_at_end(end)


@contextmanager
def counted(builder: Any, count: Any) -> Iterator[Loop]:
    """A loop that runs `count` >= 1 times; what it carries is declared before the rest of its body."""
    loop = Loop(builder, count)
    yield loop
    loop.close()


def shuffle(builder: Any, x: Any, y: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    return shuffle(builder, builder.insert_element(undefined, scalar, I32(0)), undefined, [0] * lanes)
