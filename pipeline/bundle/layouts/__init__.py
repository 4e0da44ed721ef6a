"""The forms in which a bundle is handed on: as it is, as a model of a Triton repository, as an OCI artifact."""
