"""The parity gate: does the exported model still decide as the checkpoint does?

`prove_parity` is the export's own proof on the golden frames; `adclip verify` (`export.verify.command`) climbs
the whole ladder from torch to the engine, on golden frames and on pictures of the user.
"""

from export.verify.parity import GraphParity, Parity, measure_parity, prove_parity
from export.verify.reference import reference_map

__all__ = ["GraphParity", "Parity", "measure_parity", "prove_parity", "reference_map"]
