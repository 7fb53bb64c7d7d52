"""Model folders that were made for Triton, read as this server's own."""
