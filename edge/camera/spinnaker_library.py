"""The maker's Python module, `PySpin`: loaded when a Spinnaker camera is opened, and told from its namesake."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from edge.errors import OpenError

GET_IT = (
    "Get the Spinnaker SDK and the wheel spinnaker_python of its version, for this Python and processor, from "
    "the camera maker's download page (Teledyne; it asks for an account). Never 'pip install PySpin': that is an "
    "unrelated package."
)
IMPOSTOR = "The package 'pyspin' of the package index is installed: it draws spinners in a terminal."


def load_pyspin() -> Any:
    """The module. Raises `OpenError` that says which of the usual faults it is."""
    try:
        module = importlib.import_module("PySpin")
    except ImportError as fault:
        raise _not_loaded(fault) from fault
    if not hasattr(module, "System"):
        raise OpenError(IMPOSTOR, do=f"Run 'pip uninstall pyspin'. {GET_IT}")
    return module


def check_versions(pyspin: Any, library: Any) -> None:
    """`library` is `System.GetLibraryVersion()`. Raises `OpenError` when it is not the wheel's own version."""
    wheel = tuple(
        getattr(pyspin, f"FLIR_SPINNAKER_VERSION_{part}", None)
        for part in ("MAJOR", "MINOR", "TYPE", "BUILD")
    )
    sdk = (library.major, library.minor, library.type, library.build)
    if any(mine is not None and mine != its for mine, its in zip(wheel, sdk, strict=True)):
        raise OpenError(
            f"The wheel spinnaker_python is of version {_dotted(wheel)}, the Spinnaker SDK of {_dotted(sdk)}.",
            do="Install the two in the same version.",
        )


def _dotted(version: tuple[Any, ...]) -> str:
    return ".".join("?" if part is None else str(part) for part in version)


def _not_loaded(fault: ImportError) -> OpenError:
    text = " ".join(str(fault).split())
    if isinstance(fault, ModuleNotFoundError) and fault.name == "PySpin":
        if importlib.util.find_spec("pyspin") is not None:
            return OpenError(IMPOSTOR, do=f"Run 'pip uninstall pyspin'. {GET_IT}")
        return OpenError("The camera maker's Python module PySpin is not installed.", do=GET_IT)
    if "libSpinnaker" in text:
        return OpenError(
            f"PySpin does not find the Spinnaker SDK: {text}.",
            do="Install the SDK in the version of the wheel, then run 'sudo ldconfig'.",
        )
    if "numpy" in text.lower() or "_ARRAY_API" in text:
        return OpenError(
            f"PySpin was built for another NumPy than the one installed: {text}.",
            do="Run 'pip install \"numpy<2\"' in this environment, or install a newer wheel with its SDK.",
        )
    return OpenError(f"PySpin cannot be loaded: {text}.", do=GET_IT)
