"""Which version of this software runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """The installed version, or `source tree` when it runs without being installed."""
    try:
        return version("adclip-edge")
    except PackageNotFoundError:
        return "source tree"
