"""Figures of merit, pure: labels and scores in, numbers out.

`ranking` judges image scores, `localisation` judges maps against masks, `intervals` says how far a rate that
was counted on a few parts can be trusted. What is not defined (a class is absent) is NaN, never a guess.
"""

from edge.metrics.intervals import (
    ErrorRate,
    GroupedInterval,
    clopper_pearson,
    error_rate,
    grouped_interval,
    parts_needed,
)
from edge.metrics.localisation import (
    PixelPool,
    aupro,
    pixel_auroc,
    pool_pixels,
    pooled_aupro,
    pooled_auroc,
)
from edge.metrics.ranking import auroc, average_precision, f1_max

__all__ = [
    "ErrorRate",
    "GroupedInterval",
    "PixelPool",
    "aupro",
    "auroc",
    "average_precision",
    "clopper_pearson",
    "error_rate",
    "f1_max",
    "grouped_interval",
    "parts_needed",
    "pixel_auroc",
    "pool_pixels",
    "pooled_aupro",
    "pooled_auroc",
]
