"""Instances as Pods of a Kubernetes cluster. `backend.py` fills the port, `settings.py` says what may be set."""
