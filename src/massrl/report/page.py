"""Render a page: one HTML file that needs nothing beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path

from massrl.files import write_text
from massrl.report.content import PageContext, ReportContent, Section
from massrl.report.style import STYLE


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` into a folder.

    Args:
        folder: the folder.
        content: what to show.

    Returns:
        The path of the file.

    Raises:
        DataError: if a picture cannot be read.
        TrainingError: if the file cannot be written.
    """
    path = folder / "report.html"
    write_text(path, render_report(content))
    return path


def render_report(content: ReportContent) -> str:
    """Return the page as HTML.

    Raises:
        DataError: if a picture cannot be read.
    """
    blocks = [block for section in content.sections for block in section.blocks]
    page = PageContext(name for block in blocks for name in block.series_names())
    body = "\n".join(_section(section, page) for section in content.sections if section.blocks)
    title = escape(content.title)
    lead = f'<p class="lead">{escape(content.lead)}</p>' if content.lead else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="generator" content="massrl {content.command}">\n'
        f"<title>{title}</title>\n<style>{STYLE}{page.styles}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{title}</h1>{lead}</header>\n{_facts(content)}\n"
        f"{body}\n</main>\n{page.scripts}</body>\n</html>\n"
    )


def _facts(content: ReportContent) -> str:
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for label, value in content.facts
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _section(section: Section, page: PageContext) -> str:
    heading = f"<h2>{escape(section.title)}</h2>" if section.title else ""
    layout = "grid" if section.columns else "stack"
    blocks = "\n".join(block.html(page) for block in section.blocks)
    return f'<section>{heading}<div class="{layout}">{blocks}</div></section>'
