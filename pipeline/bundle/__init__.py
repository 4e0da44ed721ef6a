"""What is shipped: the manifest, the folder that it describes, and how to tell that neither was damaged."""
