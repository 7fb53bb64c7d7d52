"""Bytes that nobody would send, for the readers of runtime/http."""
