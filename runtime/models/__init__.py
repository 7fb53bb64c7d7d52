"""Serves ONNX models: what a function is when its handler names a model instead of code.

Knows nothing of instances and gateways but `runtime.contract` and the protocol code in `runtime.http`.
"""
