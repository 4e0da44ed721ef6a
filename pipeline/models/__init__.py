"""Where a PyTorch module (or a finished ONNX graph) comes from, one file a source."""
