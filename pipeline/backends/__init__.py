"""The only importers of a runtime: torch export, ONNX Runtime, TensorRT, and readers of what TensorRT writes."""
