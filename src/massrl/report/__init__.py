"""The page of a run: one HTML file that a person can read, keep and send."""

from __future__ import annotations

from massrl.report.content import Bars, Curve, Gallery, Matrix, Picture, ReportContent, Table
from massrl.report.page import render_report, write_report

__all__ = [
    "Bars",
    "Curve",
    "Gallery",
    "Matrix",
    "Picture",
    "ReportContent",
    "Table",
    "render_report",
    "write_report",
]
