"""Whether what was planned is in the network and in the plan, and which fusions it cost."""
