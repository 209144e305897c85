"""Reports: one HTML page of a run, of an evaluation or of a comparison."""

from __future__ import annotations

from massrl.report.bar_chart import Bars
from massrl.report.content import Block, Details, PageContext, ReportContent, Section
from massrl.report.heat_map import Matrix
from massrl.report.line_chart import Curve
from massrl.report.page import render_report, write_report
from massrl.report.pictures import Gallery, Picture
from massrl.report.scatter import Scatter
from massrl.report.tables import Table

__all__ = [
    "Bars",
    "Block",
    "Curve",
    "Details",
    "Gallery",
    "Matrix",
    "PageContext",
    "Picture",
    "ReportContent",
    "Scatter",
    "Section",
    "Table",
    "render_report",
    "write_report",
]
