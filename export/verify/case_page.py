"""The pictures of the page: the cases of one pair with their maps, scores and verdicts."""

from __future__ import annotations

from html import escape

from export.verify.charts import gauge
from export.verify.climb import Case, PairResult
from export.verify.proof import Proof, SetResult
from export.verify.tiles import (
    difference_legend,
    jpeg_uri,
    largest_difference,
    map_legend,
    map_scale,
    strip,
)
from export.verify.wording import error


def case_section(one: SetResult, pair: PairResult, proof: Proof) -> str:
    """The worst cases of a pair, then those nearest to a threshold that are not among them."""
    shown = {id(case.difference) for case in pair.worst}
    nearest = [case for case in pair.nearest if id(case.difference) not in shown]
    cases = [*pair.worst, *nearest]
    if not cases:
        return ""
    scale, reach = map_scale(cases, proof.thresholds.map), largest_difference(cases)

    def drawn(some: list[Case]) -> str:
        return "".join(_case(case, pair, proof, jpeg_uri(strip(case, scale, reach))) for case in some)

    figures = pair.figures
    heading = f"{figures.first} ↔ {figures.second}: the largest errors on the {one.name}"
    near = f"<h3>Nearest to a threshold</h3>{drawn(nearest)}" if nearest else ""
    return (
        f"<h2>{escape(heading)}</h2>"
        f'<div class="legends"><div>anomaly map {scale.low:.3g} <img src="{jpeg_uri(map_legend(scale))}" alt=""> '
        f"{scale.high:.3g}</div><div>difference -{error(reach)} "
        f'<img src="{jpeg_uri(difference_legend())}" alt=""> +{error(reach)}</div></div>'
        f"{drawn(list(pair.worst))}{near}"
    )


def _case(case: Case, pair: PairResult, proof: Proof, uri: str) -> str:
    found, figures = case.difference, pair.figures
    heads = ("picture", figures.first, figures.second, "difference of the maps")
    columns = "".join(f"<span>{escape(head)}</span>" for head in heads)
    truth = f", {escape(case.truth)}" if case.truth else ""
    apart = f"largest difference of the map {error(found.map)}, of the graph's {error(found.grid)}"
    return (
        f'<figure class="case"><div class="heads">{columns}</div>'
        f'<img src="{uri}" alt="{escape(found.name)}: picture, both maps and their difference">'
        f'<div class="below"><div><span class="name">{escape(found.name)}</span>{truth}{_flip(case)}<br>'
        f'{_scores(case, proof.can_flip)}<br><span class="quiet">{escape(apart)}</span></div>'
        f"<div>{_gauge(case, pair, proof)}</div></div></figure>"
    )


def _flip(case: Case) -> str:
    return ' <span class="flipped">verdict flips</span>' if case.difference.flipped else ""


def _scores(case: Case, judged: bool) -> str:
    first, second = case.difference.readings
    verdicts = [f" {one.outcome.value.upper()}" if judged else "" for one in (first, second)]
    return (
        f'<span class="key"></span> {first.score:.5f}{verdicts[0]} &nbsp; '
        f'<span class="key second"></span> {second.score:.5f}{verdicts[1]} '
        f'<span class="quiet">apart by {error(case.difference.score)}</span>'
    )


def _gauge(case: Case, pair: PairResult, proof: Proof) -> str:
    first, second = case.difference.readings
    limits = [
        limit for limit in (proof.thresholds.recheck_score, proof.thresholds.score) if limit is not None
    ]
    return gauge((first.score, second.score), limits, pair.figures.score.maximum)
