"""Samples, readers and task metrics: what a model is run on, and what tells whether it still does its work."""
