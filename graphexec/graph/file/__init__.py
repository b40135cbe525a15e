"""Graph files: YAML for people, JSON with a published schema for programs; the same model, without any code.

    graphexec: 1
    name: nested
    inputs:
      x: float32[batch, 2]                                  # dtype and shape; a scalar is float32
    parameters:
      w: {type: "float32[2, 2]", init: glorot_uniform}      # or value: nested lists; trainable: false
      b: float32[2]                                         # zeros
    constants:
      two: 2.0                                              # or {type:, value:}
    nodes:
      z1: linear(x, w, b)                                   # or {op: linear, inputs: [x, w, b], attributes: {}}
      loss: sum(multiply(z1, z1))                           # the inner call becomes the node loss.1
    outputs: [z1, loss]                                     # without it: the nodes that nothing reads
    unused: []                                              # what nothing reads, on purpose

a ``train:`` section, and ``gradients:`` and ``deltas:`` in a graph that was differentiated. The order of entries is
free. Reading is layered: `text` (YAML or JSON to a tree with lines), `calls` (call expressions), `fields` (types, arrays), `build`
(tree to Graph), `train_section`, `validate` (cycles, shapes), `read` (all of it); `write` is the way back.
"""
