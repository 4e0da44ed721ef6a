"""More plans for a bundle that was shipped already, from nothing but the bundle: no torch, no original weights."""
