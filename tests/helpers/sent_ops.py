"""An op of a script's kind, registered where it is declared, and functions for another process to run."""

import numpy as np

import graphexec as gx
from graphexec.plugin import elementwise


def declared():
    """Declares the op anew."""

    @elementwise(reference=lambda x, *, by=2.0: x * x * by, domain=(-1.0, 1.0))
    def sent_nested(x, *, by=2.0):
        return x * x * by

    return sent_nested


@elementwise(reference=lambda x, *, by=2.0: x * x * by, domain=(-1.0, 1.0))
def sent(x, *, by=2.0):
    return x * x * by


def applied(op, x):
    """The op's result, and the op itself, which goes back."""
    return np.asarray(op(x)), op


def run(graph, inputs):
    return gx.compile(graph)(inputs)


def trained(exe, inputs, steps):
    """Losses of further steps, then all state."""
    return [exe.step(inputs) for _ in range(steps)], exe.state()


def raised(error):
    raise error
