"""One process per machine and data folder, which outlives the server.

It starts supervisors by forking itself, keeps the warm interpreters, hands out reports, watches the
machine's memory, and prunes what has ended. It owns no state of a run: journals do. Standard
library only, one thread, a frozen heap.
"""
