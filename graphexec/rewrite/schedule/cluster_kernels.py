"""alike: in graphs of many small nodes, those of one kind follow one another as far as what they read allows.

A kernel for a few elements takes some nanoseconds. Where each instruction calls another kernel than the one before, in an
order too long to be remembered, the processor foresees the wrong one and loses as much again. In runs of equal
instructions it is right. Nodes move ahead by a short way only, so that values live hardly longer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from graphexec.ir.function import Function, Node
from graphexec.ir.keys import freeze
from graphexec.rewrite.fusion.elementwise import _dependencies
from graphexec.rewrite.fusion.superinstructions import MANY, are_small

WINDOW = 100
"""Nodes by which one may move ahead."""


def cluster_kernels(fn: Function, keep: Iterable[int] = ()) -> Function:
    """The order with runs of small nodes of one kind: one op with its attributes."""
    kinds = [_kind(node) if small else None for node, small in zip(fn.nodes, are_small(fn), strict=True)]
    if len(kinds) - kinds.count(None) < MANY:  # fewer are remembered in any order
        return fn
    return fn.with_nodes([fn.nodes[p] for p in _scheduled(fn, kinds)])


def _kind(node: Node) -> Any:
    return (node.op, freeze(node.attributes)) if node.attributes else node.op


def _scheduled(fn: Function, kinds: list[Any]) -> list[int]:
    """Positions in their new order: a run begins with the first node that is ready, and takes in what is ready, or becomes
    so, of its kind and within its window.
    """
    waiting, followers = _dependencies(fn)
    ready = [p for p, count in enumerate(waiting) if count == 0]
    beside: dict[Any, list[int]] = {}
    for p in ready:
        beside.setdefault(kinds[p], []).append(p)
    done = bytearray(len(kinds))
    scheduled: list[int] = []
    while ready:
        first = heapq.heappop(ready)
        if done[first]:
            continue
        queue = [first] if kinds[first] is None else beside[kinds[first]]
        while queue and queue[0] < first + WINDOW:
            p = heapq.heappop(queue)
            done[p] = 1
            scheduled.append(p)
            for follower in followers[p]:
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    heapq.heappush(ready, follower)
                    if kinds[follower] is not None:
                        heapq.heappush(beside.setdefault(kinds[follower], []), follower)
    return scheduled
