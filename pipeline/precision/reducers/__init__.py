"""Figures of tensors, reduced inside the graph: ranges, differences, tolerances."""
