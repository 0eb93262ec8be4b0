"""The same expression on every backend: generated expressions and tables, compared as bags."""
