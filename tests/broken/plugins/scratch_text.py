import numpy as np
from graphexec.plugin import kernel


@kernel("(n)->(n)", scratch='64', differentiable=False, reference=np.copy)
def broken(x, out, scratch):
    out[:] = x
