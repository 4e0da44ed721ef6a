"""From a policy to one decision a node, and the plans that a search may choose from."""
