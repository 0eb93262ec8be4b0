"""A training: a script or function whose model becomes the next version in the registry."""
