"""Hold a rebuilt engine to its committed baseline."""
