"""`adclip engine`: build and list TensorRT engines, on the device that runs them. Needs no torch."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.config import TensorRtConfig
from edge.engine import BuildFigures, BuildOptions, EngineRecord, GoldenProof
from edge.engine_directory import list_engines

if TYPE_CHECKING:
    from export.engine.build import BuildOutcome
    from export.engine.progress import ProgressDisplay

PATH = click.Path(path_type=Path)
LIMITS = BuildOptions()

directory_option = click.option(
    "--engine-directory",
    "directory",
    type=PATH,
    default=TensorRtConfig(backend="tensorrt").engine_directory,
    show_default=True,
    help="Where engines live: runner.engine_directory of the station.",
)


@click.group("engine")
def engine_command() -> None:
    """Build and list TensorRT engines (on the device that runs them)."""


@engine_command.command()
@click.argument("bundle", type=PATH)
@directory_option
@click.option(
    "--workspace-mb",
    type=click.IntRange(min=16),
    default=LIMITS.workspace_mb,
    show_default=True,
    help="Scratch memory of one kernel.",
)
@click.option(
    "--tactic-dram-mb",
    type=click.IntRange(min=64),
    default=LIMITS.tactic_dram_mb,
    show_default=True,
    help="Memory for trying kernels; on a Jetson all that the build may take on the GPU.",
)
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    default=LIMITS.optimization_level,
    show_default=True,
    help="How long TensorRT searches.",
)
@click.option(
    "--device", type=click.IntRange(min=0), default=0, show_default=True, help="CUDA's number of the GPU."
)
@click.option("--force", is_flag=True, help="Build again although a proven engine is there.")
def build(
    bundle: Path,
    directory: Path,
    workspace_mb: int,
    tactic_dram_mb: int,
    optimization_level: int,
    device: int,
    force: bool,
) -> int:
    """Build the engine of BUNDLE for this device and prove it with the golden frames.

    The daemon must be stopped: a build takes minutes and most of the memory of an 8 GB device. Exit code 1
    when the golden frames do not come out right; the daemon then refuses the engine.
    """
    from edge.bundle import open_bundle
    from edge.preprocess import FAST_KERNELS
    from edge.runner.cuda_libraries import load_libraries
    from edge.station import stop_on_signals
    from export.engine.build import Surroundings, build_engine

    console = Console()
    opened = open_bundle(bundle)
    config = TensorRtConfig(backend="tensorrt", engine_directory=directory.absolute(), device=device)
    options = BuildOptions(
        workspace_mb=workspace_mb, tactic_dram_mb=tactic_dram_mb, optimization_level=optimization_level
    )
    surroundings = Surroundings(load_libraries())
    with ExitStack() as shown, stop_on_signals() as stop:
        outcome = build_engine(
            opened,
            config,
            options,
            surroundings,
            force=force,
            display=_display(console, shown),
            stopped=stop.is_set,
        )
    _report(console, outcome)
    if opened.manifest.preprocessing.interpolation in FAST_KERNELS:
        _build_resampler(console, directory, outcome.gpu.compute_capability)
    return 0 if outcome.engine.record.proven else 1


@engine_command.command("list")
@directory_option
def list_command(directory: Path) -> None:
    """List the engines and say which are active: built, and proven by the golden frames."""
    console = Console()
    engines = list_engines(directory)
    if not engines:
        console.print(f"No engine in {directory}.", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(
        "engine", "bundle", "precision", "made for", "built", "MB", "attentions fused", "golden frames"
    )
    for engine in engines:
        record = engine.record
        target = record.key.target
        table.add_row(
            engine.name,
            target.bundle_id[:12],
            target.precision.upper(),
            f"TensorRT {escape(target.tensorrt)}, {escape(target.gpu)}, {escape(target.platform)}",
            record.built_utc,
            f"{record.figures.engine_bytes / 1e6:.0f}",
            _fused(record.figures),
            _golden(record.golden),
        )
    console.print(table)


def _build_resampler(console: Console, directory: Path, compute_capability: str) -> None:
    from export.engine.resample_program import build_resample_program, find_nvcc

    program = build_resample_program(directory, compute_capability, find_nvcc())
    if program is None:
        text = "nvcc is not installed, so frames are resampled on the CPU; runner.preprocess: gpu needs it."
    else:
        text = f"The GPU's resampler is {program}; runner.preprocess: gpu uses it."
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _display(console: Console, shown: ExitStack) -> ProgressDisplay:
    from export.engine.progress import Bars, Lines, bars

    if console.is_terminal:
        return Bars(shown.enter_context(bars(console)))
    return Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))


def _report(console: Console, outcome: BuildOutcome) -> None:
    record = outcome.engine.record
    console.print(_table(outcome))
    if not outcome.built:
        console.print("This engine was there already and is proven; --force builds it again.")
    if not record.proven:
        _say_what_may_be_wrong(console, record)


def _table(outcome: BuildOutcome) -> Table:
    record, figures = outcome.engine.record, outcome.engine.record.figures
    target, options = record.key.target, record.key.options
    rows = {
        "engine": str(outcome.engine.path),
        "bundle": f"{target.bundle_id}, {target.precision.upper()} graph",
        "made for": f"TensorRT {target.tensorrt}, {target.gpu} ({target.compute_capability}), {target.platform}",
        "limits": f"workspace {options.workspace_mb} MB, trying kernels {options.tactic_dram_mb} MB, "
        f"level {options.optimization_level}",
        "built": f"{record.built_utc} in {figures.seconds:.0f} s, {figures.engine_bytes:,} bytes",
        "memory": f"{figures.available_mb} MB free before, {figures.least_available_mb} MB at least left",
        "attentions fused": _fused(figures),
        "golden frames": _golden(record.golden),
    }
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _say_what_may_be_wrong(console: Console, record: EngineRecord) -> None:
    from export.engine.known_bugs import known_bugs, next_steps

    target = record.key.target
    lines = ["The golden frames do not come out right: this engine is not active, and no runner takes it."]
    bugs = known_bugs(target.tensorrt, target.compute_capability)
    if bugs:
        lines.append(f"Known about TensorRT {target.tensorrt} (issues of NVIDIA/TensorRT, or as named):")
        lines += [f"  {bug.issue}: {bug.seen}" for bug in bugs]
    else:
        lines.append(f"No report about TensorRT {target.tensorrt} is known here.")
    lines.append("What to try:")
    lines += [f"  {step}" for step in next_steps(target.precision)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _fused(figures: BuildFigures) -> str:
    found = "?" if figures.fused_attentions is None else str(figures.fused_attentions)
    return f"{found} of {figures.attentions}"


def _golden(golden: GoldenProof | None) -> str:
    if golden is None:
        return "not run: not active"
    score, grid_map = _shown(golden.score_difference), _shown(golden.map_difference)
    verdict = "right: active" if golden.passed else "WRONG: not active"
    return (
        f"{verdict}; {golden.frames} frames, score off by {score} of {golden.score_allowed:.1e}, "
        f"map by {grid_map} of {golden.map_allowed:.1e} allowed"
    )


def _shown(value: float | None) -> str:
    return "no finite number" if value is None else f"{value:.1e}"
