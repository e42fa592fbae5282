"""Losses of the demo recipe, on the logits that the exported graph uses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FOCUS = 2.0
"""Exponent of the focal loss (Lin et al. 2017): easy patches weigh little."""
DEFECT_WEIGHT = 0.75
"""Weight of defective against clean patches; clean ones are some hundred times as many."""
DEFECT_COVERAGE = 0.02
"""Share of a patch that a defect must cover to count; less than that but not none is left out of the loss."""


def image_loss(logits: Tensor, defective: Tensor) -> Tensor:
    """Cross-entropy of (b, 2) logits against (b,) bool."""
    return functional.cross_entropy(logits.float(), defective.long())


def patch_loss(logits: Tensor, coverage: Tensor) -> Tensor:
    """Focal loss plus dice loss over patches.

    `logits` is (b, n, 2), `coverage` (b, n) in [0, 1], the share of each patch that the defect covers. Dice
    (Milletari et al. 2016) looks at all patches of the batch together, so thin defects are not outvoted.
    """
    defect = (coverage > DEFECT_COVERAGE).float()
    counted = ((coverage == 0) | (coverage > DEFECT_COVERAGE)).float()
    log_probability = logits.float().log_softmax(-1)
    probability = log_probability[..., 1].exp()
    right = torch.where(defect.bool(), log_probability[..., 1], log_probability[..., 0])
    weight = DEFECT_WEIGHT * defect + (1 - DEFECT_WEIGHT) * (1 - defect)
    focal = -(counted * weight * (1 - right.exp()) ** FOCUS * right).sum()
    focal = focal / (counted * defect).sum().clamp(min=1)
    overlap = (probability * defect * counted).sum()
    total = (probability * counted).sum() + (defect * counted).sum()
    return focal + 1 - (2 * overlap + 1) / (total + 1)
