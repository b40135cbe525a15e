"""cluster_kernels: in graphs of many small nodes, schedules nodes of one kind one after the other, as far as operands allow.

A kernel for a few elements runs for some nanoseconds. Where each instruction calls another kernel than the one before, in an
order too long to remember, the processor mispredicts the call and loses as much again; in runs of equal instructions it
predicts it. Nodes move ahead by a short way only, so that values hardly live longer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from graphexec.ir.function import Function, Node
from graphexec.ir.keys import freeze
from graphexec.rewrite.fusion.patterns import MIN_SMALL_NODES, are_small
from graphexec.rewrite.fusion.scheduler import dependencies

MAX_NODES_AHEAD = 100
"""Nodes by which one may move ahead."""


def cluster_kernels(fn: Function, live_out: Iterable[int] = ()) -> Function:
    """The function with runs of small nodes of one kind, that is, of one op with the same attributes."""
    kinds = [_kind(node) if small else None for node, small in zip(fn.nodes, are_small(fn), strict=True)]
    if len(kinds) - kinds.count(None) < MIN_SMALL_NODES:  # the processor remembers fewer in any order
        return fn
    return fn.with_nodes([fn.nodes[p] for p in _scheduled(fn, kinds)])


def _kind(node: Node) -> Any:
    return (node.op, freeze(node.attributes)) if node.attributes else node.op


def _scheduled(fn: Function, kinds: list[Any]) -> list[int]:
    """Positions in their new order. A run begins with the first node that is ready, and takes in the nodes of its kind, within
    its window, that are ready or become so.
    """
    waiting, followers = dependencies(fn)
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
        while queue and queue[0] < first + MAX_NODES_AHEAD:
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
