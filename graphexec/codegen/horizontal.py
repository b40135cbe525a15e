"""codegen_multi_tensor: a loop over arrays that lie apart, around an elementwise loop over each."""

from __future__ import annotations

from collections.abc import Sequence

from graphexec.codegen.elementwise import SAME, Body, Operand, _Access, _declare, _Lines, _module, _Nest, _Scalars

VECTORS = 2
"""Vectors at a time: the arrays are small."""


def horizontal_ir(name: str, body: Body) -> str:
    """What ``body`` does to the elements of several members, one after another; one thread does it.

    An operand moves by one element along a member's axis, or not at all (SAME); the latter all members have in common.
    Record: how many members; the addresses of operands that do not move; the attributes; then for each member its size and
    the addresses of its operands.
    """
    lines = _Lines()
    operands = [*body.loads, *(o for o, _ in body.stores)]
    common = sum(o.inner == SAME for o in operands)
    scalars = _Scalars(lines, body, lines.numbers(1 + common, body.words))
    access = _Members(lines, operands, 1 + common + len(body.words))
    nest = _Nest(lines, body, scalars, access, [])
    fixed = {k: access.load(k, at, group=False) for k, at in access.common.items()}  # once: so is what is made of it alone
    member = lines.begin("0", lines.word(0, "n"))
    size = access.enter(member[0])
    nest.inner(access.bases, fixed, "0", size)
    lines.end(member)
    scalars.leave()
    return _module(lines, name, _declare(body.steps), VECTORS)


class _Members(_Access):
    """Addresses of operands of which a member has its own, or all have the same."""

    def __init__(self, lines: _Lines, operands: Sequence[Operand], first: int) -> None:
        super().__init__(lines, [], 0, 0)
        self.operands, self.first = operands, first
        common = iter(range(1, first))
        self.common = {k: lines.pointer(next(common)) for k, o in enumerate(operands) if o.inner == SAME}
        self.words = 1 + len(operands) - len(self.common)

    def enter(self, member: str) -> str:
        """The size of a member, whose addresses are taken from here on."""
        lines = self.lines
        at = lines.let(f"add i64 {lines.let(f'mul i64 {member}, {self.words}')}, {self.first}")
        block = lines.let(f"getelementptr i64, ptr %record, i64 {at}")
        found = []
        for k in range(self.words):
            place = lines.let(f"getelementptr i64, ptr {block}, i64 {k}")
            found.append(lines.let(f"load {'ptr' if k else 'i64'}, ptr {place}, !invariant.load !90"))
        mine = iter(found[1:])
        self.bases = [self.common[k] if k in self.common else next(mine) for k in range(len(self.operands))]
        return found[0]
