"""The built-in server of Python functions. For functions to import: `load_session`.

Nothing else of this package is meant for functions, and nothing is imported here that they might not want.
"""

from __future__ import annotations

from runtime.instance.session import load_session

__all__ = ["load_session"]
