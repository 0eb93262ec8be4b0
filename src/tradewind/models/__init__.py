"""A trained model as a folder: what it takes, what it gives, how to load it, and its hashes.

`manifest` is light and may be read by the server. Everything else runs beside user code.
"""
