"""Semi-supervised evaluation: the whole network is fine-tuned on a small fraction of the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from massrl.config.evaluation import EvaluateConfig, SemiConfig
from massrl.data.label_lists import list_file
from massrl.data.source import Source, Subset
from massrl.data.sources.name_lists import FileNames, read_lines, readings
from massrl.data.splits import balanced_subset
from massrl.errors import DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.finetune import FinetuneResult, Sweep, finetune_and_predict, tuned_settings
from massrl.evaluation.task import Task, TaskResult, classification_result

FRACTIONS = (0.01, 0.1)  # the usual ones, where neither fractions nor lists are asked for
# Learning rates and epochs to select from: BYOL's (appendix C.2), and fewer for a CPU.
PROTOCOLS: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "short": ((0.02, 0.1), (30,)),
    "byol": ((0.005, 0.01, 0.02, 0.05, 0.1), (30, 50)),
}


def semi_supervised(
    context: EvaluationContext, config: SemiConfig, *, seed: int, download: bool = False
) -> Iterator[tuple[str, Source, FinetuneResult]]:
    """Fine-tune on each subset of the labelled training images.

    Args:
        context: the backbone and its images.
        config: fractions or lists of images, and the protocol.
        seed: of the subsets, and of all that is drawn later.
        download: whether a published list may be downloaded.

    Yields:
        Name of the subset, such as ``1`` for 1 %; its images; and the result.

    Raises:
        DataError: if a list is missing, or names an image that the training images lack.
    """
    lrs, epochs = PROTOCOLS[config.protocol]
    fractions = config.fractions or (() if config.lists else FRACTIONS)
    subsets = {
        _percent(fraction): labelled_fraction(context.train, fraction, seed=seed)
        for fraction in fractions
    }
    for name in config.lists:
        file = list_file(name, download=download)
        subsets[_list_name(file, subsets)] = listed_images(context.train, file)
    for name, source in subsets.items():
        sweep = Sweep(
            lrs=config.lrs or lrs,
            epochs=config.epochs or epochs,
            max_batch_size=config.batch_size,
            seed=seed,
            name=f"{name} % of the labels" if _is_percent(name) else f"labels of {name}",
        )
        yield name, source, finetune_and_predict(context, source, sweep)


def _list_name(file: Path, taken: Mapping[str, object]) -> str:
    """Return a list's file name without its suffix, or its whole path where that name is taken."""
    return str(file) if file.stem in taken or _is_percent(file.stem) else file.stem


def _is_percent(name: str) -> bool:
    return name.replace(".", "").isdigit()


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}"


def labelled_fraction(source: Source, fraction: float, *, seed: int) -> Source:
    """Return a seeded, class-balanced fraction of the images, at least as many as there are classes."""
    assert source.labels is not None
    count = max(len(np.unique(source.labels)), round(fraction * len(source)))
    return Subset(source, balanced_subset(source.labels, count, seed=seed))


def listed_images(source: Source, file: Path) -> Source:
    """Return the images that a list names, one per line, with or without folders and suffix.

    Raises:
        DataError: if the list cannot be read, or a line names no image of the source or several.
    """
    try:
        names = [line.strip() for _, line in read_lines(file)]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise DataError(f"{file} cannot be read: {reason} (--semi.lists)") from None
    files = FileNames([source.describe(index) for index in range(len(source))])
    found = [
        next(filter(None, (files.find(name) for name, _ in readings(line))), []) for line in names
    ]
    missing = [name for name, indices in zip(names, found, strict=True) if not indices]
    if missing or not names:
        what = f"names {missing[0]} and {len(missing) - 1} more" if missing else "names no image"
        raise DataError(f"{file} {what} that {source.name} has not (--semi.lists)")
    for name, indices in zip(names, found, strict=True):
        if len(indices) > 1:
            raise DataError(
                f"{file} names {name}, of which {source.name} has {len(indices)}: folders before the name "
                f"tell them apart (--semi.lists)"
            )
    return Subset(source, sorted({index for (index,) in found}))


class SemiSupervised(Task):
    """Fine-tuning of the whole network on few labels."""

    title = "fine-tuned on"
    settings = ("semi", "seed")
    frozen = False

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Fine-tune on each subset of the labels and classify the test images."""
        for name, source, result in semi_supervised(
            context, config.semi, seed=config.seed, download=config.data.download
        ):
            settings = {**tuned_settings(result), "labelled_images": len(source)}
            yield classification_result(context, f"{self.name}-{name}", result.scores, settings)

    @classmethod
    def result_title(cls, detail: str) -> str:
        """Return ``fine-tuned on 10 % of the labels``, or ``… the list imagenet-10``."""
        return f"{cls.title} {f'{detail} % of the labels' if _is_percent(detail) else f'the list {detail}'}"
