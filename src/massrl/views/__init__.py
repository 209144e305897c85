"""Views: augmentation policies, the plans drawn from them, and the executors that make the pixels.

A view is made in two halves. A *plan* is drawn from ``(seed, epoch, image index, view index)`` and
touches no pixel; an *executor* is a deterministic function of an image and its plan.
"""

try:
    import massrl.views.kernels  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"massrl's kernels are not built for this Python ({error}): pip install -e . builds them, with a "
        "C compiler"
    ) from error
