"""What one check of `adclip check` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what was found, or what is wrong and what to do."""

    name: str
    passed: bool
    text: str
