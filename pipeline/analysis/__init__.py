"""What results mean: delivered precision, fusions, comparisons, blame."""
