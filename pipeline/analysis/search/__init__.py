"""The cheapest precision plan within an error budget."""
