"""What a precision plan costs, counted on the graph."""
