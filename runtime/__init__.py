"""The data plane: gateway, node, and the server inside an instance. It decides nothing about how many."""
