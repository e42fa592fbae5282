"""Faults of the inference libraries stop here: they leave a runner as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge.errors import EdgeError, OpenError

LONGEST_MESSAGE = 400


@contextmanager
def translated(what: str, *, do: str, error: type[EdgeError] = OpenError) -> Iterator[None]:
    """Turn any fault of a library inside the block into `error`: `what`, then what the library says."""
    try:
        yield
    except EdgeError:
        raise
    except Exception as fault:  # the errors of these libraries share no base class
        raise error(f"{what}: {one_line(fault)}.", do=do) from fault


def one_line(text: object) -> str:
    """Text of a vendor for a sentence of ours: no line breaks, no full stop at its end, not too long."""
    return " ".join(str(text).split())[:LONGEST_MESSAGE].rstrip(". ")
