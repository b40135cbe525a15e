"""One step of gradient descent, in place.

    p = p - lr * (d + weight_decay * p)

p is a parameter, d its gradient. Shapes: equal. Dtypes: float32, float64.
Source: Robbins and Monro, "A stochastic approximation method", 1951; weight decay as in PyTorch's SGD.
"""

from graphexec_ops.update._limits import NonNegative

from graphexec.plugin import elementwise


def _reference(p, d, *, lr, weight_decay):
    return p - lr * (d + weight_decay * p)


@elementwise(reference=_reference, domain=(-2.0, 2.0), outputs=("p",), updates=("p",), differentiable=False)
def sgd(p, d, *, lr: NonNegative = 0.01, weight_decay: NonNegative = 0.0):
    return p - lr * (d + weight_decay * p)
