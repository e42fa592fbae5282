"""Loading Aravis through GObject introspection, only when a station asks for it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.errors import OpenError

PACKAGES = "python3-gi gir1.2-aravis-0.8"
SYSTEM_GI = Path("/usr/lib/python3/dist-packages/gi")
"""Where Debian and Ubuntu put PyGObject, out of sight of a virtual environment."""


@dataclass(frozen=True, slots=True)
class AravisLibrary:
    """The introspected modules. `error` is what GLib calls raise; its `domain` and `code` say which error."""

    aravis: Any
    error: type[Exception]


def load_aravis() -> AravisLibrary:
    """Raises `OpenError`, saying what to install, when PyGObject or Aravis is missing.

    In a virtual environment without PyGObject the system's own is taken, that one package alone, if it was built
    for the same version of Python.
    """
    try:
        with warnings.catch_warnings():
            # PyGObject up to 3.42 imports in a way that Python 3.10 and later call outdated.
            warnings.simplefilter("ignore")
            gi = _import_gi()
            gi.require_version("Aravis", "0.8")
            aravis = importlib.import_module("gi.repository.Aravis")
            glib = importlib.import_module("gi.repository.GLib")
    except (ImportError, ValueError) as fault:
        raise OpenError(
            f"Aravis cannot be loaded: {str(fault).rstrip('.')}.",
            do=f"Install it with: sudo apt install {PACKAGES}. They serve the system's own version of Python.",
        ) from fault
    return AravisLibrary(aravis, glib.Error)


def _import_gi() -> ModuleType:
    try:
        return importlib.import_module("gi")
    except ImportError:
        if not any(SYSTEM_GI.glob(f"_gi.{sys.implementation.cache_tag}-*.so")):
            raise
    spec = importlib.util.spec_from_file_location(
        "gi", SYSTEM_GI / "__init__.py", submodule_search_locations=[str(SYSTEM_GI)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{SYSTEM_GI} is no package")
    gi = sys.modules["gi"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(gi)
    except ImportError:
        del sys.modules["gi"]
        raise
    return gi
