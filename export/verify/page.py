"""The proof as one HTML file: opens offline, needs no script, reads in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from export.verify.case_page import case_section
from export.verify.charts import BudgetRow, Dots, budget, difference_scatter, score_scatter
from export.verify.climb import PairResult
from export.verify.differences import Difference, PairFigures
from export.verify.ladder import GOLDEN_NAME
from export.verify.proof import Proof, SetResult
from export.verify.ranking import Ranking
from export.verify.wording import change, error, margin, merit, merits, share, used

MEANING = (
    (
        "Errors",
        "Absolute differences on the very same picture: of the image score that is judged, of the map as the "
        "graph returns it, and of the finished anomaly map at input size. What is allowed comes from the bundle: "
        "what two forms may differ that each keep their own tolerance to the exporter's reference.",
    ),
    (
        "Flips",
        "Pictures on which the two forms decide differently at the thresholds in force, by the very function "
        "that decides on the line. One flip is one too many.",
    ),
    (
        "Guard band",
        "Pictures so near to a threshold that the largest error of the pair could carry them over it: those that "
        "flip, and those that might have. Many of them mean that the threshold cuts through the parts.",
    ),
    (
        "Not run",
        "A form that could not be opened on this machine. It is proven only where it runs, by 'adclip verify' on "
        "that device.",
    ),
)


def report_page(proof: Proof, written_utc: str) -> str:
    """The whole page, everything embedded; equal input gives equal text."""
    template = Template(files("export.verify").joinpath("page.html").read_text(encoding="utf-8"))
    bundle = proof.bundle
    return template.substitute(
        title=escape(f"Parity of {bundle.folder.resolve().name}"),
        subtitle=f"{escape(bundle.manifest.backbone)} · bundle <code>{bundle.bundle_id}</code> · {written_utc}",
        answer=_answer(proof),
        counts=_counts(proof),
        ladder=_ladder(proof),
        budget=budget([row for one in proof.sets for row in _budget_rows(one)]),
        errors=_errors(proof),
        verdicts=_verdicts(proof),
        scatter=_scatter(proof),
        labels=_labels(proof),
        pictures="".join(case_section(one, pair, proof) for one in proof.sets for pair in _worth_seeing(one)),
        unusable=_unusable(proof),
        meaning="".join(f"<h3>{name}</h3><p>{escape(words)}</p>" for name, words in MEANING),
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 99) -> str:
    """A table whose cells are HTML already; columns from `numbers_from` on are set flush right."""
    sides = ['<{} class="n">' if at >= numbers_from else "<{}>" for at in range(len(heads))]
    head = "".join(sides[at].format("th") + f"{name}</th>" for at, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(sides[at].format("td") + f"{cell}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _answer(proof: Proof) -> str:
    gaps = "".join(f"<p>{escape(gap)}</p>" for gap in proof.gaps())
    if proof.passed:
        flips = "; no verdict flips" if proof.can_flip else ""
        return (
            f'<div class="answer proven"><b>Proven</b><p>On {proof.proven_on} every form that ran here is within '
            f"its tolerance{flips}.</p>{gaps}</div>"
        )
    faults = "".join(f"<p>{escape(fault)}</p>" for fault in [*proof.faults(), proof.starts] if fault)
    return f'<div class="answer refused"><b>Not proven</b>{faults}{gaps}</div>'


def _counts(proof: Proof) -> str:
    pairs = [pair.figures for one in proof.sets for pair in one.pairs]
    flips = sum(pair.flips for pair in pairs)
    guarded = max((pair.closeness.guard_band for pair in pairs if pair.closeness), default=0)
    most = max((max(used(pair).values()) for pair in pairs), default=0.0)
    cards = [
        ("", str(sum(one.pictures for one in proof.sets)), "pictures, golden frames among them"),
        ("", str(len(proof.rungs)), f"forms compared, {len(proof.missing)} not run"),
        ("fine" if most <= 1 else "wrong", share(most), "of the tolerance used at most"),
        ("wrong" if flips else "fine", str(flips), "verdict flips")
        if proof.can_flip
        else ("", "not known", "verdict flips"),
        ("", str(guarded) if proof.can_flip else "not known", "in the guard band"),
    ]
    return "".join(
        f'<div class="count {tone}"><b>{value}</b><span>{escape(label)}</span></div>'
        for tone, value, label in cards
    )


def _ladder(proof: Proof) -> str:
    ran = [
        [f"<b>{escape(name)}</b>", escape(what), "stored" if name == GOLDEN_NAME else "run"]
        for name, what in proof.rungs
    ]
    missing = [[escape(one.name), escape(one.why), "not run"] for one in proof.missing]
    return table(["form", "what ran it", ""], [*ran, *missing])


def _budget_rows(one: SetResult) -> list[BudgetRow]:
    short = "golden" if one.name.startswith("golden") else one.name
    return [BudgetRow(f"{names(pair.figures)}, {short}", used(pair.figures)) for pair in one.pairs]


def names(figures: PairFigures) -> str:
    """The two forms of a pair."""
    return f"{figures.first} ↔ {figures.second}"


def _errors(proof: Proof) -> str:
    rows = []
    for one in proof.sets:
        for pair in one.pairs:
            found, allowed = pair.figures, pair.figures.allowed
            rows.append(
                [
                    f"{escape(names(found))}<br><span class='quiet'>{one.counted}</span>",
                    _against(found.score.maximum, found.score.mean, allowed.score),
                    _against(found.grid.maximum, found.grid.mean, allowed.grid),
                    _against(found.map.maximum, found.map.mean, allowed.map),
                ]
            )
    return table(["", "image score", "graph's map", "anomaly map"], rows, 1)


def _against(maximum: float, mean: float, allowed: float) -> str:
    largest = error(maximum) if maximum <= allowed else f'<b class="wrong">{error(maximum)}</b>'
    return f"{largest} {_quiet(f'of {error(allowed)}')}<br>{_quiet(f'mean {error(mean)}')}"


def _quiet(words: str) -> str:
    return f'<span class="quiet">{escape(words)}</span>'


def _verdicts(proof: Proof) -> str:
    if not proof.can_flip:
        return (
            "<p>No threshold was given, so verdicts could not be compared. Give the station file (--station), a "
            "calibration file (--calibration) or thresholds by hand.</p>"
        )
    limits = proof.thresholds
    stated = [
        ("score", limits.score),
        ("recheck from", limits.recheck_score),
        ("map", limits.map),
        ("least area in px", limits.min_area_px or None),
    ]
    words = ", ".join(f"{name} {value:.6g}" for name, value in stated if value is not None)
    rows = []
    for one in proof.sets:
        for pair in one.pairs:
            close = pair.figures.closeness
            if close is not None:
                flips = str(close.flips) if not close.flips else f'<b class="wrong">{close.flips}</b>'
                rows.append(
                    [
                        f"{escape(names(pair.figures))}<br>{_quiet(one.counted)}",
                        flips,
                        str(close.guard_band),
                        margin(close.score_margin),
                        margin(close.map_margin),
                    ]
                )
    heads = ["", "flips", "in the guard band", "smallest margin, score", "smallest margin, map"]
    return f"<p>Thresholds in force: {escape(words)}.</p><div class='scroll'>{table(heads, rows, 1)}</div>"


def _scatter(proof: Proof) -> str:
    """Of the pictures where there are any, else of the golden frames; the two ends of the ladder."""
    shown = [one for one in proof.sets if one.end_to_end is not None]
    if not shown:
        return ""
    pair = shown[-1].end_to_end
    assert pair is not None
    figures = pair.figures
    both = (figures.first, figures.second)
    limits = [
        limit for limit in (proof.thresholds.recheck_score, proof.thresholds.score) if limit is not None
    ]
    band, dots = figures.score.maximum, _dots(pair)
    guard = f" The shaded band is the guard band, {error(band)} to either side." if limits else ""
    return (
        '<div class="pair">'
        f"<figure>{score_scatter(dots, both, limits, band)}<figcaption>Image scores of {figures.pictures} "
        f"{escape(shown[-1].name)}, one form against the other.{guard}</figcaption></figure>"
        f"<figure>{difference_scatter(dots, both, limits, band)}<figcaption>The same pictures, their differences "
        "enlarged. A ring marks a flip.</figcaption></figure></div>"
        f'<p class="quiet">{_legend(pair)}</p>'
    )


def _dots(pair: PairResult) -> list[Dots]:
    kinds: dict[str, list[Difference]] = {"plain": [], "good": [], "bad": []}
    for found, label in zip(pair.differences, pair.labels, strict=True):
        kinds[{None: "plain", False: "good", True: "bad"}[label]].append(found)
    return [Dots(style, found) for style, found in kinds.items() if found]


def _legend(pair: PairResult) -> str:
    if all(label is None for label in pair.labels):
        return ""
    return (
        '<span class="key"></span> labelled good &nbsp; <span class="key second"></span> labelled defective'
    )


def _labels(proof: Proof) -> str:
    return "".join(_label_section(one.rankings) for one in proof.sets if one.rankings)


def _label_section(rankings: Sequence[tuple[str, Ranking]]) -> str:
    first, known = merits(rankings[0][1]), rankings[0][1]
    rows = [
        [escape(rung), *(_merit(first, name, value, at) for name, value in merits(ranking).items())]
        for at, (rung, ranking) in enumerate(rankings)
    ]
    return (
        f"<h2>Against the labels</h2><div class='scroll'>{table(['', *first], rows, 1)}</div>"
        f"<p class='quiet'>Of {known.pictures} labelled pictures; pixels of {known.maps} maps whose mask is "
        f"known, {known.regions} defect regions. Below each figure its change from the first form.</p>"
    )


def _merit(first: Mapping[str, float], name: str, value: float, at: int) -> str:
    return f"{merit(value)}<br>{_quiet(change(first[name], value))}" if at else merit(value)


def _worth_seeing(one: SetResult) -> list[PairResult]:
    """The two ends of the ladder, and any pair in between that failed."""
    return [pair for pair in one.pairs if pair is one.end_to_end or not pair.figures.passed]


def _unusable(proof: Proof) -> str:
    rows = [[escape(name), escape(why)] for one in proof.sets for name, why in one.bad]
    return f"<h2>Pictures that could not be used</h2>{table(['', ''], rows)}" if rows else ""
