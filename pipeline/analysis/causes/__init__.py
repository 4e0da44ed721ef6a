"""What breaks a layer, and how that is said."""
