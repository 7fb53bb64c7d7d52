"""The Open Inference Protocol, version 2, over HTTP, with Triton's extensions: models for clients that speak it.

Routes are answered in `routes.py`; everything that turns bytes into tensors and back is pure and beside it.
"""
