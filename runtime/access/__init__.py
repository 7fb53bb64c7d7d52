"""Access keys: what they are, what their roles allow, and whether a request was made by one. Shared by the gateway, for
invocations and triggers, and by the control plane, for everything else."""
