"""loops: how the loops around the kernels are written, and the epilogue that runs on each finished part of C.

Arguments of every function are int64; addresses are plain integers, counted in bytes.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphexec.gemm.emitter import I64, Int
from graphexec.gemm.microkernels import Outer
from graphexec.gemm.packing import Panels

EPILOGUE_WORDS, EPILOGUE_STATUS = 5, 4
"""Words of an epilogue before those of its operands; the one that takes its status. See :meth:`Loops.epilogue`."""


class Loops(Outer, Panels):
    """Functions of integers, tests and loops."""

    def loops(self, name: str, arguments: int, body: Any) -> Any:
        """The function `name`, whose `body` takes `Int`s."""
        return self.function(name, arguments, lambda builder, *values: body(*(Int(builder, v) for v in values)))

    def do(self, function: Any, *arguments: Int | int) -> None:
        """Calls one of this driver's functions, or a kernel that picks its variant (`tile`, `strip`)."""
        builder = next(x.builder for x in arguments if isinstance(x, Int))
        values = [x.value if isinstance(x, Int) else I64(x) for x in arguments]
        if callable(function):
            function(builder, values)
        else:
            builder.call(function, values)

    def first_of(self, *cases: tuple[Callable[[], Int] | None, Callable[[], None]]) -> None:
        """Writes a chain of tests: the action of the first condition that holds runs; None always holds."""
        (condition, action), *others = cases
        if condition is None:
            action()
            return
        with condition().either() as (yes, no):
            with yes:
                action()
            with no:
                self.first_of(*others)

    def scalar(self, address: Int) -> Any:
        return address.builder.load(self.at(address.builder, address.value), typ=self.element)

    def add_scalar(self, condition: Int, value: Any, address: Int) -> Any:
        """Value plus the element at `address` where `condition` holds."""
        builder = address.builder
        before = builder.block
        with condition.holds():
            added = builder.fadd(value, self.scalar(address))
            inside = builder.block
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(added, inside)
        return phi

    def put(self, value: Any, address: Int) -> None:
        address.builder.store(value, self.at(address.builder, address.value))

    # --- what follows the product ---------------------------------------------------------------------------------

    def epilogue(self) -> Any:
        """Runs an elementwise kernel on rows i0 to i1 and columns j0 to j1 of C, which are finished and still in the cache.

        `link` is the address of words: the kernel, its record and the record's length, the number of operands, a word for its
        status; then for each operand the index of its address in the record, and the distance of its rows and of its columns
        in bytes. The kernel gets a copy of the record with the sizes and addresses of this part.
        """

        def body(link: Int, i0: Int, i1: Int, j0: Int, j1: Int) -> None:
            builder = link.builder
            kernel, record, length, operands = (self.word(link, k) for k in range(4))
            with ((i0 < i1) & (j0 < j1)).holds():
                part = Int(builder, builder.ptrtoint(builder.alloca(I64, size=length.value), I64))
                with length.each() as k:
                    self.put_word(self.word(record, k), part, k)
                self.put_word(i1 - i0, part, 0)
                self.put_word(j1 - j0, part, 1)
                with operands.each() as k:
                    at, outer, inner = (self.word(link, k * 3 + (EPILOGUE_WORDS + d)) for d in range(3))
                    self.put_word(self.word(part, at) + i0 * outer + j0 * inner, part, at)
                kind = ir.FunctionType(I64, [I64] * 4)
                function = builder.inttoptr(kernel.value, kind.as_pointer())
                status = Int(builder, builder.call(function, [part.value, I64(0), I64(1), I64(0)]))
                with status.differs(0).holds():
                    self.put_word(status, link, EPILOGUE_STATUS)

        return self.loops("epilogue", 5, body)

    def run_epilogue(self, link: Int, i0: Int | int, i1: Int | int, j0: Int | int, j1: Int | int) -> None:
        """Runs the epilogue on a finished part of C, if there is one."""
        with link.differs(0).holds():
            self.do(self.epilogue(), link, i0, i1, j0, j1)

    def word(self, address: Int, index: Int | int) -> Int:
        builder = address.builder
        return Int(builder, builder.load(self.at(builder, (address + _bytes(index)).value), typ=I64))

    def put_word(self, value: Int, address: Int, index: Int | int) -> None:
        builder = address.builder
        builder.store(value.value, self.at(builder, (address + _bytes(index)).value))


def _bytes(words: Int | int) -> Int | int:
    return words * 8
