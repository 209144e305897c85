"""The model card beside every export: what the backbone is, what it has seen, how it did, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

LICENCES = {
    "autoaugment": "AutoAugment's tables: BSD 3-Clause, © Soumith Chintala 2016 (torchvision)",
    "fast-autoaugment": "Fast AutoAugment's tables: MIT, © 2019 Ildoo Kim",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card tells.

    Attributes:
        file: name of the file that it lies beside.
        kind: its format.
        about: of the backbone: ``backbone``, ``stem``, ``size``, ``mean``, ``std`` and more.
        num_parameters: of the network.
        program: Python that loads the file.
        config: configuration of the run, as nested mappings; None where there was none.
        data: which images the run learnt from.
        tasks: by task, its figures in percent by their names, and what they are of.
        software: versions.
    """

    file: str
    kind: str
    about: dict[str, Any]
    num_parameters: int
    program: str
    config: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    tasks: dict[str, tuple[dict[str, float], str]] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)


def card_text(card: Card) -> str:
    """The card as Markdown."""
    about = card.about
    parts = [
        f"# {card.file}",
        f"A {about['backbone']} without its classifier ({card.num_parameters / 1e6:.1f} million parameters), "
        f"from images to {about['num_features']} features. {_origin(card)}",
        "## Use",
        f"```python\n{card.program}\n```",
        _facts(card),
        *_seen(card),
        *_figures(card),
        "## Licences",
        _licences(card),
    ]
    return "\n\n".join(parts) + "\n"


def _origin(card: Card) -> str:
    source, step = card.about.get("source"), card.about.get("step")
    if source:
        where = f"Its weights are those of `{source}`"
        part = card.about.get("part")
        return f"{where}, part `{part}`, as they were found there." if part else f"{where}."
    if card.config is None or step is None:
        return "Pre-trained without labels by massrl."
    objective = card.config["method"]["name"]
    return f"Pre-trained without labels by massrl: {objective}, {step:,} optimiser steps."


def _facts(card: Card) -> str:
    about = card.about
    rows = [
        ("format", card.kind),
        ("stem", about["stem"]),
        ("images", f"{about['size']} px, RGB in [0, 1]"),
        ("normalised by", f"mean {_numbers(about['mean'])}, std {_numbers(about['std'])}"),
    ]
    return _table(("", ""), rows)


def _seen(card: Card) -> list[str]:
    config, data = card.config, card.data
    if config is None:
        return []
    views, train = config["views"], config["train"]
    rows = [
        ("strategies", ", ".join(f"`{policy}`" for policy in views["policies"] or ())),
        ("layout", f"{views['layout']}, pairs {config['method']['pairs']}"),
        ("batch", f"{config['data']['batch_size']} images"),
        (
            "optimiser",
            f"{config['optim']['name']}, lr {config['optim']['lr']:g} per 256 images, weight decay "
            f"{config['optim']['weight_decay']:g}",
        ),
        ("seed", str(train["seed"])),
    ]
    if config.get("recipe"):
        rows.insert(0, ("recipe", f"`{config['recipe']}`"))
    if data is not None:
        seen = f"{data['name']}, {data['num_images']:,} images, fingerprint {data['fingerprint']}"
        rows.insert(0, ("images", f"{seen}; labels were not used"))
    return ["## Pre-training", _table(("", ""), rows)]


def _figures(card: Card) -> list[str]:
    rows = [
        (task, name, f"{value:.2f}", on)
        for task, (figures, on) in card.tasks.items()
        for name, value in figures.items()
    ]
    if not rows:
        return ["## Figures", "Not judged: `massrl evaluate` does."]
    versions = ", ".join(f"{name} {version}" for name, version in card.software.items())
    note = f"Measured with {versions}." if versions else ""
    return ["## Figures", _table(("task", "figure", "percent", "on"), rows), note]


def _licences(card: Card) -> str:
    used = card.config["views"]["policies"] or () if card.config is not None else ()
    names = {policy.partition("(")[0] for policy in used}
    lines = [f"- {text}" for name, text in LICENCES.items() if name in names]
    if lines:
        lines.append(
            "- these tables were searched **with labels** of the data set they are named after"
        )
    elsewhere = "- the weights: as their source says" if card.about.get("source") else ""
    own = (
        "- massrl, whose code trained the weights: MIT; the images' own licences are their owners'"
    )
    return "\n".join([*lines, elsewhere or own])


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
