"""Builds what is in C; all else about the package stands in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

# Floats are neither contracted nor reordered: every processor is to come to the same pixels.
EXACT = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
OPTIONS = [*EXACT, "-fvisibility=hidden"]
KERNELS = Path("csrc/kernels")

setup(
    ext_modules=[
        Extension("massrl.stream", ["csrc/stream.c"], extra_compile_args=OPTIONS),
        Extension(
            "massrl.views.kernels",
            sorted(map(str, KERNELS.glob("*.c"))),
            depends=[str(KERNELS / "kernels.h")],
            extra_compile_args=OPTIONS,
        ),
    ]
)
