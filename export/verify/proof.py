"""The proof: what came of every rung on golden frames and on the user's pictures, and what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge.bundle import Bundle
from edge.decide import Thresholds
from edge.errors import EdgeError, FrameError
from edge.manifest import GOLDEN, Precision
from export.verify import layers
from export.verify.climb import Climber, PairResult, Setting
from export.verify.differences import PairFigures
from export.verify.labelled import Picture, Subject, read_subject
from export.verify.ladder import ENGINE_NAME, TORCH_NAME, Ladder, NotRun
from export.verify.parity import golden_frame
from export.verify.ranking import Ranking, RankingPool


@dataclass(frozen=True, slots=True, eq=False)
class SetResult:
    """One set of pictures. `rankings` is by rung, empty when the pictures are not labelled."""

    name: str
    pictures: int
    pairs: tuple[PairResult, ...]
    rankings: tuple[tuple[str, Ranking], ...] = ()
    bad: tuple[tuple[str, str], ...] = ()

    @property
    def counted(self) -> str:
        """`3 golden frames`."""
        return f"{self.pictures} {self.name if self.pictures != 1 else self.name.removesuffix('s')}"

    @property
    def end_to_end(self) -> PairResult | None:
        """The first rung against the last; None when there is only one."""
        return self.pairs[-1] if self.pairs else None


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Everything that was found. `rungs` are (name, what ran it); `starts` names the layer of a failure."""

    bundle: Bundle
    thresholds: Thresholds
    rungs: tuple[tuple[str, str], ...]
    missing: tuple[NotRun, ...]
    sets: tuple[SetResult, ...]
    starts: str = ""

    @property
    def passed(self) -> bool:
        """Every pair within tolerance without a flip, and no picture left out."""
        return not self.faults()

    @property
    def can_flip(self) -> bool:
        """Whether a threshold is in force, so that verdicts can be compared."""
        return self.thresholds.score is not None or self.thresholds.map is not None

    @property
    def proven_on(self) -> str:
        """The sets on which two forms at least were compared."""
        return " and ".join(one.counted for one in self.sets if one.pairs)

    def gaps(self) -> list[str]:
        """What was not compared although it was asked for, or could have been."""
        alone = [
            f"Nothing was compared on the {one.counted}: only one form runs here."
            for one in self.sets
            if one.pictures and not one.pairs
        ]
        unjudged = [] if self.can_flip else ["Verdicts were not compared: no threshold was given."]
        return alone + unjudged

    def faults(self) -> list[str]:
        """What speaks against the bundle, in short sentences."""
        found = []
        for one in self.sets:
            for pair in one.pairs:
                found += [f"{fault} of the {one.name}." for fault in _pair_faults(pair.figures)]
            if one.bad:
                found.append(f"{len(one.bad)} of the {one.name} could not be used.")
        return found


def _pair_faults(figures: PairFigures) -> list[str]:
    names = f"{figures.first[0].upper()}{figures.first[1:]} and {figures.second}"
    found = [] if figures.within else [f"{names} differ by more than is allowed on some"]
    return [*found, f"{names} decide differently on {figures.flips}"] if figures.flips else found


def prove_on_golden(bundle: Bundle, ladder: Ladder, thresholds: Thresholds) -> SetResult:
    """The golden frames with the bundle's own preprocessing; the stored outputs stand above all other rungs.

    Raises `OperateError` when a rung fails.
    """
    spec, images = bundle.manifest.preprocessing.model_copy(update={"tiles": None}), bundle.golden().images
    climber = Climber(bundle, [ladder.golden, *ladder.rungs], Setting(spec, thresholds))
    for number, image in enumerate(images, start=1):
        frame = golden_frame(image, number)
        climber.climb(Subject(Picture(bundle.folder / GOLDEN, frame.source), frame, None))
    return SetResult("golden frames", len(images), climber.results())


def prove_on_pictures(
    bundle: Bundle,
    ladder: Ladder,
    setting: Setting,
    pictures: Iterable[Picture],
    complain: Callable[[Picture, EdgeError], None],
) -> SetResult:
    """The user's pictures; one that cannot be used is told to `complain` and the others go on.

    Raises `OperateError` when a rung fails.
    """
    climber, bad, done = Climber(bundle, ladder.rungs, setting), [], 0
    with RankingPool([rung.name for rung in ladder.rungs]) as pool:
        for part_id, picture in enumerate(pictures, start=1):
            try:
                subject = read_subject(picture, part_id)
                inspections = climber.climb(subject)
            except FrameError as fault:
                complain(picture, fault)
                bad.append((picture.name, fault.what))
            else:
                done += 1
                pool.add(subject, inspections)
        return SetResult("pictures", done, climber.results(), pool.rankings(), tuple(bad))


def where_it_starts(bundle: Bundle, ladder: Ladder, sets: Iterable[SetResult]) -> str:
    """Where the first pair that is out of tolerance parts, in a sentence; empty when every pair is within."""
    for one in sets:
        for pair in one.pairs:
            if not pair.figures.within:
                return _blamed(bundle, ladder, pair)
    return ""


def _blamed(bundle: Bundle, ladder: Ladder, pair: PairResult) -> str:
    name, network = pair.figures.second, ladder.network
    if name == TORCH_NAME:
        return "torch here does not compute what the exporter's torch stored: compare the two versions."
    if name == ENGINE_NAME:
        return (
            "The layers of an engine cannot be looked into: build it again on this device, then verify again."
        )
    precision: Precision = "fp16" if name.endswith("FP16") else "fp32"
    return layers.where_it_starts(bundle, precision, pair.worst[0].tensor, network)
