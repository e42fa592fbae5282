"""The sentences that AA-CLIP compares a picture with: each state of a product in each template."""

from __future__ import annotations

NORMAL = ("{}", "a {}", "the {}")
ABNORMAL = ("a damaged {}", "a broken {}", "a {} with flaw", "a {} with defect", "a {} with damage")
TEMPLATES = ("{}.", "a photo of {}.")


def normal_sentences(product: str) -> tuple[str, ...]:
    """Six sentences about a product without a defect, such as 'a photo of the metal ring.'."""
    return _sentences(NORMAL, product)


def abnormal_sentences(product: str) -> tuple[str, ...]:
    """Ten sentences about a product with a defect."""
    return _sentences(ABNORMAL, product)


def _sentences(states: tuple[str, ...], product: str) -> tuple[str, ...]:
    # replace, not format: a description may hold braces
    stated = (state.replace("{}", product) for state in states)
    return tuple(template.replace("{}", state) for state in stated for template in TEMPLATES)
