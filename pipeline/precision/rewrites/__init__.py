"""Rewrites that keep the function of a graph: constants, dead code, and the forms whose fusions TensorRT keeps.

Each is a function from a model, which it changes in place, to the fates of the tensors that it touched.
"""
