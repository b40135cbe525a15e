"""Geometries in which internal ops on windows are tried: attributes for three spatial axes, and indices into windows."""

DENSE = {"strides": (1, 1, 1), "padding": (0, 0, 0, 0, 0, 0), "dilations": (1, 1, 1), "groups": 1}
STRIDED = {"strides": (1, 2, 2), "padding": (0, 1, 0, 0, 0, 1), "dilations": (1, 1, 1), "groups": 2}
QUADS = {"strides": (1, 2, 2), "padding": (0, 0, 0, 0, 0, 0), "dilations": (1, 1, 1)}
PADDED = {"strides": (1, 1, 1), "padding": (0, 0, 1, 1, 0, 1), "dilations": (1, 1, 1)}
OVERLAPPING = {"strides": (1, 1, 1), "padding": (0, 0, 0, 0, 0, 0), "dilations": (1, 1, 1)}


def windowed(x, which, volume, *like, **attributes):
    """Floating operands, the second of three an index into windows of ``volume`` elements, all of which lie inside."""

    def draw(rng):
        first, *rest = (rng.uniform(-2, 2, shape) for shape in (x, *like))
        return first, rng.integers(0, volume, which).astype("int32"), *rest, attributes

    return draw
