"""The graph as the compiler sees it: specs, views, ops and their registry, functions of nodes, and shape inference."""
