"""Where instances run: our own node, and a fake for tests and simulations."""
