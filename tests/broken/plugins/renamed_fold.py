import numpy as np
from graphexec.plugin import kernel, fold


@kernel("(n)->()", shared=True, reference=np.sum)
def broken(x, out, piece, pieces):
    out[()] = x.sum()
