"""Packages that only some sources need: the error, before any of them is read, says what to do.

    collect: reading PDF needs the package pypdfium2, which is not installed; ...

The parsers themselves run in a child process whose import error nobody would see.
"""

import importlib.util

from pretrain.errors import PretrainError


def require(module: str, extra: str, what: str) -> None:
    """Nothing, where a package is installed. Raises: PretrainError."""
    if importlib.util.find_spec(module) is None:
        raise PretrainError(
            f"collect: {what} needs the package {module}, which is not installed; must be there: "
            f"pip install 'pretrain[{extra}]'"
        )
