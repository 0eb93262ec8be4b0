"""Bytes by their SHA-256: code bundles, model files, artifacts. A folder of files."""
