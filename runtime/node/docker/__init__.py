"""Containers on a node, by the Docker Engine API: its client, what is asked of it, images, and the launcher."""
