"""Asynchronous invocations: their records, when they are tried again, where results go, how the store keeps it all.

Shared by the gateway, which accepts and runs them, and by the control plane, which shows and stops them.
"""
