"""The mixed graph as an fp32 graph that rounds where it rounds."""
