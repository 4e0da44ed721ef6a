"""From a PyTorch model to a validated mixed-precision TensorRT plan."""
