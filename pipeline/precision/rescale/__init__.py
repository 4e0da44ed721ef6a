"""Hold overflowing linear layers times powers of two: exact in fp32, and within range in fp16.

`algebra` says what each operator does to exponents, `walk` takes them through a graph, `options` lists where a layer's
exponents can be put, `choose` decides, `apply` writes.
"""
