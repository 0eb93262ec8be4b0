"""Tasks as Jobs and Deployments of a Kubernetes cluster."""
