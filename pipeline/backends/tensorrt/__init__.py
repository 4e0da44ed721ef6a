"""TensorRT and TensorRT-RTX behind one code path, driven by Polygraphy.

Builds run in a process of their own (`worker`), started by `process`: a crash in TensorRT loses that process and not
the run; what Myelin prints straight to stdout and stderr goes to the log with everything else; the one logger that
TensorRT keeps a process is ours; and both flavours can be used in one run although a process can hold only one.
"""
