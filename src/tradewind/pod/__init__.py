"""In a pod: what the node and its supervisors are on a machine, for one unit alone.

`python -m tradewind.pod stage` brings what the unit needs, `python -m tradewind.pod run` carries it
out. Everything that passes between a pod and the server goes through the server's desk (`desk`).
"""
