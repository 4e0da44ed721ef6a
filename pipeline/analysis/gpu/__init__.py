"""What only a GPU can show: the engine's own numbers and latencies."""
