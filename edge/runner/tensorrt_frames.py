"""TensorRT with the resampler on the GPU as well: the raw cut goes up once, and no tensor is made on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from edge.bundle import Bundle
from edge.config import TensorRtConfig
from edge.errors import BundleError, OpenError
from edge.messages import PixelFormat, RawImage
from edge.preprocess import FAST_KERNELS, cut_out, input_tensor
from edge.runner import Prediction
from edge.runner.cuda_libraries import CudaLibraries
from edge.runner.cuda_resample import program_path
from edge.runner.tensorrt import TensorRtRunner

LARGEST_DIFFERENCE = 0.01
"""Of the normalised tensor, to the CPU's: about half an 8-bit level. Both add up the same products in another
order, which changes the sixth digit; a wrong tap or a shifted plane changes the first."""


class TensorRtFrameRunner(TensorRtRunner):
    """See the module; a `FrameRunner`. It opens only when the GPU makes the same tensors of the golden frames,
    and of a Bayer frame, as the CPU does.

    Raises `BundleError` for a bundle without a fast interpolation, `OpenError` as `TensorRtRunner` does, and when
    the GPU's program is missing or makes other tensors.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: TensorRtConfig,
        *,
        libraries: CudaLibraries | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        spec = bundle.manifest.preprocessing
        if spec.interpolation not in FAST_KERNELS:
            raise BundleError(
                f"The bundle {bundle.folder} is made for Pillow's resampler, which runs on the CPU alone.",
                do="Export it again with --resample fast, or set runner.preprocess: cpu.",
            )
        super().__init__(bundle, config, libraries=libraries, now_ns=now_ns)
        try:
            program = program_path(config.engine_directory, self._gpu.compute_capability)
            self._resampler = self._session.resampler(program, spec, bundle.manifest.input)
            self._prove(bundle)
        except BaseException:  # whatever it was, the GPU must be let go; it is raised again
            self.close()
            raise
        self.description += ", resampled on the GPU"

    def infer_cut(self, cut: RawImage, pixel_format: PixelFormat, red: tuple[int, int]) -> Prediction:
        """See `FrameRunner.infer_cut`."""
        with self._alone():
            fill = partial(self._resampler.write, cut, pixel_format, red)
            return self._prediction(self._session.run_filled(fill))

    def _prove(self, bundle: Bundle) -> None:
        spec = bundle.manifest.preprocessing
        frames: list[tuple[RawImage, PixelFormat]] = [
            (image, PixelFormat.RGB8) for image in bundle.golden().images
        ]
        height, width = (4 * side + 2 for side in spec.size_px)
        noise = np.random.default_rng(1).integers(0, 256, (height, width), dtype=np.uint8)
        for image, pixel_format in (*frames, (noise, PixelFormat.BAYER_RG8)):
            cut = cut_out(image, pixel_format, spec, None)
            fill = partial(self._resampler.write, cut.image, cut.pixel_format, cut.red)
            found = self._session.input_filled(bundle.manifest.input, fill)
            largest = float(np.abs(found - input_tensor(image, pixel_format, spec)).max())
            if not largest <= LARGEST_DIFFERENCE:
                raise OpenError(
                    f"The GPU makes another tensor of a {pixel_format.value} frame: off by {largest:.2g}.",
                    do="Run 'adclip engine build --force' again; if it stays, report it and set "
                    "runner.preprocess: cpu.",
                )
