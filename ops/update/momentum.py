"""One step of gradient descent with momentum, in place.

    g = d + weight_decay * p
    v = momentum * v + g
    p = p - lr * v;  with nesterov, p = p - lr * (g + momentum * v)

p is a parameter, d its gradient, v its velocity (initially 0). Shapes: equal. Dtypes: float32, float64.
Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in the form of PyTorch's SGD.
"""

from graphexec_ops.update._limits import Decay, NonNegative

from graphexec.plugin import elementwise


def _reference(p, d, v, *, lr, momentum, nesterov, weight_decay):
    g = d + weight_decay * p
    v = momentum * v + g
    return p - lr * (g + momentum * v if nesterov else v), v


@elementwise(reference=_reference, domain=(-2.0, 2.0), outputs=("p", "v"), updates=("p", "v"), differentiable=False)
def momentum(p, d, v, *, lr: NonNegative = 0.01, momentum: Decay = 0.9, nesterov=False, weight_decay: NonNegative = 0.0):
    g = d + weight_decay * p
    velocity = momentum * v + g
    return p - lr * (g + momentum * velocity if nesterov else velocity), velocity
