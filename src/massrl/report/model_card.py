"""The model card beside an exported backbone: what it is, its training data, metrics, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massrl.errors import counted
from massrl.registry import POLICIES
from massrl.report.stored_metrics import Measured
from massrl.runs.provenance import labels_used, licences, sources


@dataclass(frozen=True, kw_only=True)
class Card:
    """Content of a model card.

    Attributes:
        file: name of the exported file.
        format: its format.
        about: description of the backbone: ``backbone``, ``stem``, ``size``, ``mean``, ``std`` and more.
        num_parameters: of the network.
        sha256: hash of the weights.
        program: Python code that loads the file.
        config: configuration of the run, as nested mappings; ``None`` if it does not come from a run.
        data: the training images, as in ``data.json``.
        measured: stored results; those of weights without any have no tasks.
    """

    file: str
    format: str
    about: dict[str, Any]
    num_parameters: int
    sha256: str
    program: str
    config: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    measured: Sequence[Measured] = ()


def card_text(card: Card) -> str:
    """Return the card as Markdown."""
    about = card.about
    parts = [
        f"# {card.file}",
        f"A {about['backbone']} without its classifier ({card.num_parameters / 1e6:.1f} million parameters), "
        f"from images to {about['num_features']} features. {_origin(card)}",
        "## Use",
        f"```python\n{card.program}\n```",
        _inputs(card),
        "## Weights",
        _table(("", ""), _weights(card)),
        *_pretraining(card),
        *_metrics(card),
        "## Limits",
        _limits(card),
        "## Licences",
        _licences(card),
        *_flags(card),
    ]
    return "\n\n".join([*parts, "<!-- massrl export -->"]) + "\n"


def _origin(card: Card) -> str:
    about, step = card.about, card.about.get("step")
    source, part = about.get("source"), about.get("part")
    if source:
        return f"Its weights are from `{source}`{f', part `{part}`' if part else ''}, unchanged."
    begin, end = {
        False: ("Pre-trained without labels by massrl", ""),
        True: ("Pre-trained by massrl", ", from weights that were trained with labels"),
        None: (
            "Pre-trained by massrl",
            ", from weights of which it is not known whether labels were used",
        ),
    }[labels_used(about)]
    if card.config is None or step is None:
        return f"{begin}{end}."
    return f"{begin}: {card.config['method']['name']}, {counted(step, 'optimiser step')}{end}."


def _inputs(card: Card) -> str:
    about = card.about
    rows = [
        ("format", card.format),
        ("stem", about["stem"]),
        ("images", f"{about['size']} px, RGB in [0, 1]"),
        ("normalised by", f"mean {_numbers(about['mean'])}, std {_numbers(about['std'])}"),
    ]
    return _table(("", ""), rows)


def _weights(card: Card) -> list[tuple[str, str]]:
    """Return where the weights come from, and whether labels were used on the way."""
    first, *starts = sources(card.about)
    rows = [("SHA-256", f"`{card.sha256}`")]
    if first.get("source"):
        rows.append(("source", _source(first)))
    elif not starts:
        rows.append(("start", f"random weights, seed {first['seed']}"))
    rows += [("start", _source(item)) for item in starts]
    return [*rows, ("labels", _labels(card))]


def _source(item: Mapping[str, Any]) -> str:
    """Return one line on weights that others start from."""
    parts = [f"`{item.get('source') or item.get('name')}`"]
    if not item.get("source"):
        parts.append("a backbone of massrl")
    parts += [f"{key} `{item[key]}`" for key in ("part", "weights") if item.get(key)]
    parts += [f"of {item['origin']}"] if item.get("origin") else []
    if item.get("source"):
        labels = {"used": "labels were used", "not-used": "no labels were used"}
        parts.append(labels.get(str(item.get("labels")), "labels: not known"))
        parts.append(f"licence: {item.get('licence') or 'not known'}")
    parts += [f"SHA-256 `{item['sha256']}`"] if item.get("sha256") else []
    return ", ".join(parts)


def _labels(card: Card) -> str:
    words = {
        False: "not used to train the weights",
        True: "used, by the weights that this began with",
        None: "not known of the weights that this began with",
    }
    if card.about.get("source"):
        words |= {True: "used", None: "not known: see the source"}
    searched = _searched(_policies(card))
    more = (
        f"; {', '.join(f'`{item}`' for item in searched)} searched **with labels**"
        if searched
        else ""
    )
    return words[labels_used(card.about)] + more


def _pretraining(card: Card) -> list[str]:
    config, data = card.config, card.data
    if config is None:
        known = (
            "by the authors of its source"
            if card.about.get("source")
            else "the run folder tells more"
        )
        return ["## Pre-training", f"Not described in the file that was exported: {known}."]
    views, optim = config["views"], config["optim"]
    rows = [
        ("policies", ", ".join(f"`{policy}`" for policy in views["policies"] or ())),
        ("layout", f"{views['layout']}, pairs {config['method']['pairs']}"),
        ("batch", counted(config["data"]["batch_size"], "image")),
        (
            "optimiser",
            f"{optim['name']}, lr {optim['lr']:g} per 256 images, weight decay "
            f"{optim['weight_decay']:g}",
        ),
        ("seed", str(config["train"]["seed"])),
    ]
    if config.get("recipe"):
        rows.insert(0, ("recipe", f"`{config['recipe']}`"))
    if data is not None:
        images = f"{data['name']}, {counted(data['num_images'], 'image')}, fingerprint {data['fingerprint']}"
        rows.insert(0, ("images", f"{images}; their labels, if any, were not used"))
    return ["## Pre-training", _table(("", ""), rows)]


def _metrics(card: Card) -> list[str]:
    rows = [
        (item.weights, task, name, value, images)
        for item in card.measured
        for task, (metrics, images) in item.tasks.items()
        for name, value in metrics.items()
    ]
    missing = [item.weights for item in card.measured if not item.tasks]
    notes = [f"Not evaluated: {', '.join(missing)}; see `massrl evaluate`."] if missing else []
    versions = {
        ", ".join(f"{name} {version}" for name, version in item.software.items())
        for item in card.measured
    }
    notes += [f"Measured with {text}." for text in sorted(versions) if text]
    table = [_table(("weights", "task", "metric", "percent", "on"), rows)] if rows else []
    return ["## Metrics", *table, *([" ".join(notes)] if notes else [])]


def _limits(card: Card) -> str:
    """Return what is not known of these weights, as far as their description tells."""
    about = card.about
    sets = {images for item in card.measured[:1] for _, images in item.tasks.values()}
    measured = (
        f"measured on {'; '.join(sorted(sets))} alone" if sets else "not measured on anything"
    )
    lines = [
        f"- The features were {measured}: nothing is known of other images.",
        f"- They are for images of {about['size']} px, normalised as above; other sizes were not tried.",
    ]
    if card.config is not None:
        lines.append("- One run of one seed: how far another one differs is not known.")
    if labels_used(about) is not False or _searched(_policies(card)):
        lines.append(
            "- Labels were used on the way, or may have been (see Weights): a comparison with weights "
            "of no labels at all is not one of like with like."
        )
    return "\n".join(lines)


def _flags(card: Card) -> list[str]:
    """Return every flag of the run; of a folder on its machine the name alone."""
    if card.config is None:
        return []
    text = "\n".join(f"--{name} {_value(value)}" for name, value in _flat(card.config).items())
    return ["## Flags", f"```text\n{text}\n```"]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_value(item) for item in value) or "(none)"
    path = isinstance(value, str) and Path(value).is_absolute()
    return f"…/{Path(value).name}" if path else "(none)" if value in (None, "") else str(value)


def _policies(card: Card) -> Sequence[str]:
    return card.config["views"]["policies"] or () if card.config is not None else ()


def _licences(card: Card) -> str:
    lines = [f"- {notice}" for notice in _notices(_policies(card))]
    foreign = licences(card.about)
    lines += [
        f"- the weights of `{source}`{'' if card.about.get('source') else ', which training started from'}: "
        f"{licence or 'see their source'}"
        for source, licence in foreign.items()
    ]
    if not card.about.get("source"):
        lines.append(
            "- massrl, whose code trained the weights: MIT; the images' licences are their owners'"
        )
    return "\n".join(lines)


def _searched(policies: Sequence[str]) -> list[str]:
    """Return the policies whose tables were searched with labels."""
    return [
        policy for policy in policies if any("with labels" in text for text in _notices([policy]))
    ]


def _notices(policies: Sequence[str]) -> list[str]:
    """Return the notices of policies that contain data of others, each once."""
    names = dict.fromkeys(policy.partition("(")[0] for policy in policies)
    notices = (getattr(POLICIES.load(name), "notice", "") for name in names if name in POLICIES)
    return [notice for notice in notices if notice]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
