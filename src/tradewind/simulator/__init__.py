"""Virtual time over the real scheduler: traces, peers' policies, tables and pictures."""
