"""The verdict on a mixed graph: layers and their floors, extremes, shares of modules."""
