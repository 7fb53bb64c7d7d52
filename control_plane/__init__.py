"""The control plane: the FC-compatible API, what users asked for, how many instances should be, and making it so."""
