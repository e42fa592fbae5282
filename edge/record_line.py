"""What happens on the line → rows of the records, handed to the writer thread."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from edge.messages import Frame, FrameStatus, Inspection, StageTimings, Verdict
from edge.pipeline import Settled
from edge.records import PartRecord, RecordWriter, utc_text

NOT_RUN = StageTimings(math.nan, math.nan, math.nan, math.nan)


class RecordLine:
    """An `Observer` that submits one record for every part that left the line.

    Wall-clock times are the start of the run plus monotonic time since, so a clock that is set meanwhile does
    not reorder the parts.
    """

    def __init__(self, writer: RecordWriter, config_id: str, started_ns: int, started: datetime) -> None:
        self._writer, self._config_id = writer, config_id
        self._started_ns, self._started = started_ns, started

    def decided(self, frame: Frame, inspection: Inspection | None, verdict: Verdict) -> None:
        """See `Observer.decided`; a record is written when the part has left the line."""

    def settled(self, settled: Settled) -> None:
        """See `Observer.settled`."""
        self._writer.submit(self._record(settled), settled.frame)

    def _record(self, settled: Settled) -> PartRecord:
        trigger, frame, action, verdict = settled.trigger, settled.frame, settled.action, settled.verdict
        timings = verdict.timings or NOT_RUN
        since_start = timedelta(microseconds=(trigger.triggered_ns - self._started_ns) / 1000)
        return PartRecord(
            part_id=trigger.part_id,
            frame_id=frame.frame_id if frame else None,
            triggered_ns=trigger.triggered_ns,
            triggered_utc=utc_text(self._started + since_start),
            captured_ns=frame.captured_ns if frame else None,
            decided_ns=settled.decided_ns,
            due_ns=action.due_ns,
            frame_status=frame.status if frame else FrameStatus.MISSING,
            pixel_format=frame.pixel_format if frame else None,
            exposure_us=frame.exposure_us if frame else math.nan,
            gain_db=frame.gain_db if frame else math.nan,
            source=frame.source if frame else "",
            score=verdict.score,
            threshold=verdict.threshold,
            outcome=verdict.outcome,
            reasons=verdict.reasons,
            regions=verdict.regions,
            action=action.kind,
            margin_ms=action.margin_ms,
            preprocess_ms=timings.preprocess_ms,
            runner_ms=timings.runner_ms,
            anomaly_map_ms=timings.anomaly_map_ms,
            decide_ms=timings.decide_ms,
            bundle_id=verdict.bundle_id,
            config_id=self._config_id,
        )
