"""ONNX graphs through onnx-ir: load, save, types, the module each node came from, and correspondence of tensors."""
