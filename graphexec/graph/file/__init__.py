"""Graph files: YAML for people, JSON with a published schema for programs; both hold the same model and no code.

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
    outputs: [z1, loss]                                     # by default, the nodes that nothing reads
    unused: []                                              # nodes that nothing reads, on purpose

A file may also have a ``train:`` section and, if the graph was differentiated, ``gradients:`` and ``deltas:``. Entries may
appear in any order.

The modules build on each other: `tree` (items with line numbers), `text` (YAML or JSON to a tree), `calls` (call expressions),
`fields` (types, arrays), `build` (tree to Graph), `validate` (cycles, shapes), `train_section`, `read` (a whole file). `write` is
the inverse.
"""
