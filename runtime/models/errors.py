"""What can go wrong with a model, by whose affair it is. `status` is what an HTTP caller is told."""

from __future__ import annotations


class ModelError(Exception):
    """The text is for whoever asked."""

    status = 500


class InvalidInput(ModelError):
    """The caller's: names the tensor, what came and what is allowed."""

    status = 400


class InferenceFailed(ModelError):
    """The model's: it ran on good input and failed; in the runtime's words."""


class ModelUnavailable(ModelError):
    """Not loaded now."""

    status = 503


class ModelUnusable(ModelError):
    """It cannot be served at all: shown as why the instance failed."""
