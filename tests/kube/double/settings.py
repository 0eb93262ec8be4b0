"""How patient the cluster's controllers are. The defaults are the real ones."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Settings:
    """All in seconds, and may be changed while the double runs. Only `job_batch`, 1.0 in a real
    cluster, is shorter here: nobody may lean on it."""

    # A Job waits so long before it replaces a failed pod, twice as long after each further one.
    job_backoff: float = 10.0
    job_backoff_most: float = 600.0
    # A Job is looked at so long after something happened to it, with all that happened till then.
    job_batch: float = 0.01
    # A controller waits so long before it tries again what was refused.
    create_backoff: float = 1.0
    create_backoff_most: float = 60.0
    # A node is unreachable when neither its lease nor its status was renewed for so long.
    node_grace: float = 50.0
    # The pods of a node that was deleted go so long afterwards.
    orphan_grace: float = 40.0
    # A pod that fits nowhere is tried again at each change, and after so long.
    schedule_again: float = 60.0
