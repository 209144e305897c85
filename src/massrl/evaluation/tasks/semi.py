"""Semi-supervised evaluation: the whole network is fine-tuned on a small share of the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from massrl.config.evaluation import EvaluateConfig, SemiConfig
from massrl.data.label_lists import list_file
from massrl.data.source import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.finetune import FinetuneResult, finetune_and_predict, tuned_settings
from massrl.evaluation.task import TaskResult

SHARES = (0.01, 0.1)  # the field's, where neither shares nor lists are asked for


# Rates and epochs to choose from: BYOL's (appendix C.2), and few that a CPU can try.
PROTOCOLS: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "short": ((0.02, 0.1), (30,)),
    "byol": ((0.005, 0.01, 0.02, 0.05, 0.1), (30, 50)),
}


def semi_supervised(
    subject: EvaluationContext, config: SemiConfig, *, seed: int, download: bool = False
) -> Iterator[tuple[str, Source, FinetuneResult]]:
    """Fine-tune on each share of the labelled images.

    Args:
        subject: the backbone and its images.
        config: shares or lists of images, and the protocol.
        seed: of the shares, and of all that is drawn later.
        download: whether a published list may be fetched.

    Yields:
        What the share is called, such as ``semi-supervised-1``; its images; and the result.

    Raises:
        DataError: if a list is not to be had, or names an image that is not there.
    """
    rates, epochs = PROTOCOLS[config.protocol]
    wanted = config.fractions or (() if config.lists else SHARES)
    shares = {
        _percent(share): labelled_fraction(subject.train, share, seed=seed) for share in wanted
    }
    for word in config.lists:
        file = list_file(word, download=download)
        shares[_untaken(file, shares)] = listed_images(subject.train, file)
    for word, source in shares.items():
        name = f"semi-supervised-{word}"
        result = finetune_and_predict(
            subject,
            source,
            rates=config.lrs or rates,
            epochs=config.epochs or epochs,
            most=config.batch_size,
            seed=seed,
            name=name,
        )
        yield name, source, result


def _untaken(file: Path, taken: Mapping[str, object]) -> str:
    """What a list is called: its file without the suffix, or all of the path where that is taken."""
    looks_like_share = file.stem.replace(".", "").isdigit()
    return str(file) if file.stem in taken or looks_like_share else file.stem


def labelled_fraction(source: Source, share: float, *, seed: int) -> Source:
    """A seeded, class-balanced share of the images; as many as there are classes at least."""
    assert source.labels is not None
    amount = max(len(np.unique(source.labels)), round(share * len(source)))
    return Subset(source, balanced_subset(source.labels, amount, seed=seed))


def listed_images(source: Source, file: Path) -> Source:
    """The images that a list names, one a line, by the names of their files, with or without folders.

    Raises:
        DataError: if the list cannot be read, or names an image that the source has not, or several of its
            images at once.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise DataError(f"{file} cannot be read: {reason} (--semi.lists)") from None
    names = [line.strip() for line in lines if line.strip()]
    places: dict[str, list[int]] = {}
    for index in range(len(source)):
        places.setdefault(Path(source.describe(index)).name, []).append(index)
    found = [_ending_in(name, places.get(Path(name).name, []), source) for name in names]
    missing = [name for name, ones in zip(names, found, strict=True) if not ones]
    if missing or not names:
        what = f"names {missing[0]} and {len(missing) - 1} more" if missing else "names no image"
        raise DataError(f"{file} {what} that {source.name} has not (--semi.lists)")
    for name, ones in zip(names, found, strict=True):
        if len(ones) > 1:
            raise DataError(
                f"{file} names {name}, of which {source.name} has {len(ones)}: folders before the name "
                f"tell them apart (--semi.lists)"
            )
    return Subset(source, sorted({one for (one,) in found}))


def _ending_in(name: str, places: Sequence[int], source: Source) -> list[int]:
    """Those of some images whose paths end in a name, which may have folders before it."""
    parts = Path(name).parts
    return [place for place in places if Path(source.describe(place)).parts[-len(parts) :] == parts]


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def _semi(subject: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    shares = semi_supervised(subject, config.semi, seed=config.seed, download=config.data.download)
    for name, source, result in shares:
        yield TaskResult(
            name, result.scores, {**tuned_settings(result), "labelled_images": len(source)}
        )
