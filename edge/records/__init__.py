"""The inspection records: one row per part that is never changed, and the raw frames worth keeping.

RecordWriter (own thread) ──▶ RecordStore ──▶ records.sqlite
                                  └──▶ FrameArchive ──▶ frames/RUN/PART.png
RecordReader ◀── the same directory, while it is written or afterwards, or a copy of it
"""

from __future__ import annotations

from edge.records.archive import FrameArchive, keeps
from edge.records.reader import RecordReader, open_records
from edge.records.record import PartRecord, Picture, Run, RunInfo, utc_text
from edge.records.schema import DATABASE
from edge.records.store import RecordStore
from edge.records.tally import WriterCounters
from edge.records.writer import RecordWriter, WriterLimits

__all__ = [
    "DATABASE",
    "FrameArchive",
    "PartRecord",
    "Picture",
    "RecordReader",
    "RecordStore",
    "RecordWriter",
    "Run",
    "RunInfo",
    "WriterCounters",
    "WriterLimits",
    "keeps",
    "open_records",
    "utc_text",
]
