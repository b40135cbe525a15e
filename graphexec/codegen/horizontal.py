"""horizontal: a loop over several separate arrays around an elementwise loop over each."""

from __future__ import annotations

from collections.abc import Sequence

from graphexec.codegen.elementwise import ElementwiseNest
from graphexec.codegen.operands import SAME, Access, Body, Operand, Scalars, declare
from graphexec.codegen.writer import INVARIANT, IRWriter

VECTORS = 2
"""Vectors in flight: the arrays are small."""


def horizontal_ir(name: str, body: Body) -> str:
    """Runs ``body`` on the elements of several members, one member after another, on one thread.

    An operand moves by one element along a member's axis, or is SAME, which all members have in common. The record holds the number
    of members; the addresses of the SAME operands; the attributes; and for each member its size and its operands' addresses.
    """
    writer = IRWriter()
    common = sum(o.inner == SAME for o in body.operands)
    scalars = Scalars(writer, body, writer.numbers(1 + common, body.words))
    access = _Members(writer, body.operands, 1 + common + len(body.words))
    nest = ElementwiseNest(writer, body, scalars, access, [], [])
    # loaded before the loop over members, so that LLVM also computes before it what depends on these alone
    fixed = {k: access.load(k, at, group=False) for k, at in access.common.items()}
    with writer.loop("0", writer.word(0, "n")) as member:
        size = access.enter(member)
        nest.inner(access.bases, fixed, "0", size)
    scalars.leave()
    return writer.kernel_module(name, declare(body.steps), VECTORS)


class _Members(Access):
    """Addresses of operands, each either common to all members or one for each member."""

    def __init__(self, writer: IRWriter, operands: Sequence[Operand], first: int) -> None:
        super().__init__(writer, [], 0, 0)
        self.operands, self.first = operands, first
        common = iter(range(1, first))
        self.common = {k: writer.pointer(next(common)) for k, o in enumerate(operands) if o.inner == SAME}
        self.words = 1 + len(operands) - len(self.common)

    def enter(self, member: str) -> str:
        """Switches to the addresses of a member; gives its size."""
        writer = self.writer
        block = writer.element("i64", "%record", writer.add(writer.let(f"mul i64 {member}, {self.words}"), str(self.first)))
        found = []
        for k in range(self.words):
            place = writer.element("i64", block, str(k))
            found.append(writer.let(f"load {'ptr' if k else 'i64'}, ptr {place}, !invariant.load {INVARIANT}"))
        mine = iter(found[1:])
        self.bases = [self.common[k] if k in self.common else next(mine) for k in range(len(self.operands))]
        return found[0]
