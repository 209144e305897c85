"""Semi-supervised evaluation: the whole network is fine-tuned on a small share of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from massrl.data.published_lists import list_file
from massrl.data.sources import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import DataError
from massrl.evaluate_options import SemiConfig
from massrl.evaluation.finetune import FinetuneResult, tune_and_predict
from massrl.evaluation.subject import Subject

# Rates and epochs to choose from: BYOL's (appendix C.2), and few that a CPU can try.
PROTOCOLS: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "short": ((0.02, 0.1), (30,)),
    "byol": ((0.005, 0.01, 0.02, 0.05, 0.1), (30, 50)),
}


def semi_supervised(
    subject: Subject, config: SemiConfig, *, seed: int, download: bool = False
) -> Iterator[tuple[str, Source, FinetuneResult]]:
    """Fine-tune on each share of the labelled images.

    Args:
        subject: the backbone and its images.
        config: shares or lists of images, and the protocol.
        seed: of the shares, and of all that is drawn later.
        download: whether a published list may be fetched.

    Yields:
        What the share is called, such as ``semi-1``; its images; and the result.

    Raises:
        DataError: if a list is not to be had, or names an image that is not there.
    """
    rates, epochs = PROTOCOLS[config.protocol]
    shares = [
        (_percent(share), labelled_share(subject.train, share, seed=seed))
        for share in config.shares
    ]
    for word in config.lists:
        file = list_file(word, download=download)
        shares.append((file.stem, listed_images(subject.train, file)))
    for word, source in shares:
        name = f"semi-{word}"
        result = tune_and_predict(
            subject,
            source,
            rates=config.rates or rates,
            epochs=config.epochs or epochs,
            most=config.batch_size,
            seed=seed,
            name=name,
        )
        yield name, source, result


def labelled_share(source: Source, share: float, *, seed: int) -> Source:
    """A seeded, class-balanced share of the images; as many as there are classes at least."""
    assert source.labels is not None
    amount = max(len(np.unique(source.labels)), round(share * len(source)))
    return Subset(source, balanced_subset(source.labels, amount, seed=seed))


def listed_images(source: Source, file: Path) -> Source:
    """The images that a list names, line by line, by the names of their files.

    Raises:
        DataError: if the list cannot be read, or names an image that the source has not.
    """
    try:
        names = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror} (--semi.lists)") from None
    places = {Path(source.describe(index)).name: index for index in range(len(source))}
    missing = [name for name in names if Path(name).name not in places]
    if missing or not names:
        what = f"names {missing[0]} and {len(missing) - 1} more" if missing else "names no image"
        raise DataError(f"{file} {what} that {source.name} has not (--semi.lists)")
    return Subset(source, sorted({places[Path(name).name] for name in names}))


def _percent(share: float) -> str:
    return f"{100 * share:g}"
