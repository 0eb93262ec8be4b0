"""Who goes next, and where. A machine without I/O: events in, decisions out, copyable."""
