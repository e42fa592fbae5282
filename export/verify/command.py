"""`adclip verify`: the parity gate. Needs no torch; heavy imports wait until it runs."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import BOX
from edge.errors import ConfigError, EdgeError
from edge.messages import Box

if TYPE_CHECKING:
    from rich.table import Table

    from edge.bundle import Bundle
    from export.verify.climb import Setting
    from export.verify.labelled import Picture
    from export.verify.ladder import Ladder, Sources
    from export.verify.proof import Proof, SetResult

PATH = click.Path(path_type=Path)


@click.command("verify")
@click.argument("bundle", type=PATH)
@click.option(
    "--images",
    type=PATH,
    help="Pictures of yours: a folder (good/ and other folders are labels, ground_truth/ holds masks), or a CSV "
    "file with path, label, defect, mask_path.",
)
@click.option("--clip", type=PATH, help="CLIP file that the bundle was made from, to compare with torch.")
@click.option("--checkpoint", type=PATH, help="Checkpoint that the bundle was made from; goes with --clip.")
@click.option("--station", type=PATH, help="Station file: its thresholds, region, tiles and correction.")
@click.option("--calibration", type=PATH, help="Calibration file with the thresholds.")
@click.option("--score-threshold", type=float, help="Reject at this image score or above.")
@click.option("--map-threshold", type=float, help="Reject a region of the map at this value or above.")
@click.option("--min-area-px", type=float, default=0.0, help="Smallest region that rejects, in image pixels.")
@click.option("--roi", type=BOX, help="Region of the pictures to inspect: X,Y,WIDTH,HEIGHT in pixels.")
@click.option("--engine-directory", type=PATH, help="Where this device keeps its TensorRT engines.")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="Threads of ONNX Runtime."
)
@click.option(
    "--resamplers", is_flag=True, help="Compare Pillow's resampler with the fast one as well, on the IMAGES."
)
@click.option("--report", type=PATH, help="Folder of the report.  [default: BUNDLE.parity]")
def verify_command(
    bundle: Path,
    images: Path | None,
    clip: Path | None,
    checkpoint: Path | None,
    station: Path | None,
    calibration: Path | None,
    score_threshold: float | None,
    map_threshold: float | None,
    min_area_px: float,
    roi: Box | None,
    engine_directory: Path | None,
    threads: int,
    resamplers: bool,
    report: Path | None,
) -> int:
    """Prove that BUNDLE decides as the checkpoint does, in every form that runs here.

    torch, ONNX FP32, ONNX FP16 and the TensorRT engine are compared on the bundle's golden frames and on IMAGES,
    through the path of the line. With thresholds, no verdict may differ.

    Exit code 0: proven. 1: an error beyond its tolerance, a flipped verdict, or a picture that could not be used.
    """
    from edge.bundle import open_bundle
    from export.verify.labelled import find_pictures
    from export.verify.ladder import open_ladder
    from export.verify.report import check_folder, default_folder, write_report
    from export.verify.terminal import print_proof, result_console

    opened = open_bundle(bundle)
    sources = _sources(clip, checkpoint)
    setting = _setting(opened, station, calibration, score_threshold, map_threshold, min_area_px, roi)
    folder = report or default_folder(bundle)
    check_folder(folder, bundle)
    pictures = () if images is None else find_pictures(images)
    if resamplers and not pictures:
        raise ConfigError("The resamplers are compared on pictures of yours.", do="Give --images.")
    with open_ladder(opened, sources, threads=threads, engine_directory=engine_directory) as ladder:
        proof = _prove(opened, ladder, setting, pictures)
    written = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    files = write_report(proof, folder, written)
    console = result_console()
    print_proof(proof, console)
    for file in files:
        console.print(str(file), markup=False, soft_wrap=True)
    if resamplers:
        console.print(_resamplers_table(opened, setting, pictures, threads))
    return 0 if proof.passed else 1


def _resamplers_table(bundle: Bundle, setting: Setting, pictures: tuple[Picture, ...], threads: int) -> Table:
    from rich.console import Console

    from export.verify.resamplers import compare_resamplers, figures_table

    console = Console(stderr=True, highlight=False)

    def complain(picture: Picture, fault: EdgeError) -> None:
        console.print(f"{picture.path}: {fault}", markup=False, soft_wrap=True)

    return figures_table(bundle, compare_resamplers(bundle, setting, pictures, threads, complain))


def _sources(clip: Path | None, checkpoint: Path | None) -> Sources | None:
    from export.verify.ladder import Sources

    if clip is None and checkpoint is None:
        return None
    if clip is None or checkpoint is None:
        raise ConfigError("--clip and --checkpoint go together.", do="Give both, or neither.")
    return Sources(clip, checkpoint)


def _setting(
    bundle: Bundle,
    station: Path | None,
    calibration: Path | None,
    score: float | None,
    map_value: float | None,
    min_area_px: float,
    roi: Box | None,
) -> Setting:
    from edge.calibration_file import thresholds_in_force
    from edge.config import DecisionConfig
    from edge.decide import Thresholds
    from edge.inspection import effective_preprocessing
    from export.verify.climb import Setting

    by_hand = score is not None or map_value is not None
    if sum((station is not None, calibration is not None, by_hand)) > 1:
        raise ConfigError(
            "Thresholds were given in more than one way.",
            do="Give a station file, a calibration file, or thresholds by hand.",
        )
    if station is not None:
        return _station_setting(bundle, station, roi)
    preprocessing = effective_preprocessing(bundle, roi)
    if calibration is None:
        return Setting(preprocessing, Thresholds(score=score, map=map_value, min_area_px=min_area_px))
    decision = DecisionConfig(calibration=calibration)
    return Setting(preprocessing, thresholds_in_force(decision, bundle.bundle_id, preprocessing, None))


def _station_setting(bundle: Bundle, station: Path, roi: Box | None) -> Setting:
    """What a station judges with; raises `ConfigError` when its thresholds belong to another bundle."""
    from edge.calibration_file import thresholds_in_force
    from edge.camera_calibration import station_correction
    from edge.config import load_station
    from edge.inspection import effective_preprocessing
    from export.verify.climb import Setting

    if roi is not None:
        raise ConfigError("A station file brings its own region.", do="Leave --roi out.")
    config = load_station(station)
    _, correction = station_correction(config)
    own = config.preprocess
    preprocessing = effective_preprocessing(bundle, own.roi_px, own.tiles, correction)
    thresholds = thresholds_in_force(config.decision, bundle.bundle_id, preprocessing, None)
    return Setting(preprocessing, thresholds, correction)


def _prove(bundle: Bundle, ladder: Ladder, setting: Setting, pictures: tuple[Picture, ...]) -> Proof:
    from export.verify.proof import Proof, prove_on_golden, where_it_starts

    sets = [prove_on_golden(bundle, ladder, setting.thresholds)]
    if pictures:
        sets.append(_prove_on_pictures(bundle, ladder, setting, pictures))
    return Proof(
        bundle,
        setting.thresholds,
        tuple((rung.name, rung.runner.description) for rung in (ladder.golden, *ladder.rungs)),
        ladder.missing,
        tuple(sets),
        where_it_starts(bundle, ladder, sets),
    )


def _prove_on_pictures(
    bundle: Bundle, ladder: Ladder, setting: Setting, pictures: tuple[Picture, ...]
) -> SetResult:
    """With a bar on stderr where that is a terminal; a picture that cannot be used is named there at once."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from export.verify.proof import prove_on_pictures

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def complain(picture: Picture, fault: EdgeError) -> None:
            text = str(fault) if str(picture.path) in str(fault) else f"{picture.path}: {fault}"
            console.print(text, markup=False, soft_wrap=True)

        steps = progress.track(pictures, description="Comparing")
        return prove_on_pictures(bundle, ladder, setting, steps, complain)
