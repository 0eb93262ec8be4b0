"""A model that answers requests, in replicas kept alive."""
