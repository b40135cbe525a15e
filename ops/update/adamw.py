"""One step of AdamW, in place: Adam with weight decay decoupled from the gradient.

    m = beta1 * m + (1 - beta1) * d
    v = beta2 * v + (1 - beta2) * d**2
    p = (1 - lr * weight_decay) * p - lr / (1 - beta1**step) * m / (sqrt(v / (1 - beta2**step)) + eps)

p is a parameter, d its gradient, m and v its moments (initially 0), step the number of this step, counted from 1. Shapes: equal;
step is a scalar. Dtypes: float32, float64; step int64. 1 - beta**step is computed as -expm1(step * log(beta)), which keeps its
precision for beta near 1.
Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, in the form of PyTorch's AdamW.
"""

import numpy as np
from graphexec_ops.update._limits import Decay, NonNegative

from graphexec import math
from graphexec.plugin import elementwise


def _reference(p, d, m, v, step, *, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * d
    v = beta2 * v + (1 - beta2) * d * d
    stride = lr / (1 - beta1**step) * m / (np.sqrt(v / (1 - beta2**step)) + eps)
    return (1 - lr * weight_decay) * p - stride.astype(p.dtype), m, v


@elementwise(
    reference=_reference, outputs=("p", "m", "v"), updates=("p", "m", "v"), types={"step": "int64"}, differentiable=False,
    domain={"p": (-2.0, 2.0), "d": (-1.0, 1.0), "m": (-1.0, 1.0), "v": (0.1, 1.0), "step": (1, 100)},
    shared_operand="step",
)  # fmt: skip
def adamw(
    p, d, m, v, step, *, lr: NonNegative = 1e-3, beta1: Decay = 0.9, beta2: Decay = 0.999, eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.01,
):  # fmt: skip
    mean = beta1 * m + (1 - beta1) * d
    variance = beta2 * v + (1 - beta2) * d * d
    steps = math.like(step, p)
    rate = -lr / math.expm1(steps * math.log(beta1))  # loop-invariant: computed once, outside the loop
    scale = 1 / math.sqrt(-math.expm1(steps * math.log(beta2)))
    return (1 - lr * weight_decay) * p - rate * mean / (scale * math.sqrt(variance) + eps), mean, variance
