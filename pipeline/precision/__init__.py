"""Precision decisions as pure graph work: what each op does in a low format, which nodes bear it, and the casts.

`semantics` says what operators do and `evidence` what a graph's tensors hold; `rules` claim by both, `policy` makes of
the claims one decision a node, `casts` write them into the graph. Beside them: `rewrites` make the canonical form,
`bounds` prove what holds for every input, `rescale` mends range by powers of two, `costing` counts what a plan costs,
`emulation` rounds where the mixed graph rounds, `reducers` take figures of tensors inside the graph.
"""
