"""Tables: reading sources, immutable versions, statistics, differences, frames for functions.

Everything here runs beside user code or in a process of its own, never in the server (see
`tradewind.data.commit`). The heavy libraries are imported on use.
"""
