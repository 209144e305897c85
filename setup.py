"""Build the C extensions; all other settings of the package are in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

# Floating-point operations are neither fused nor reordered: pixels must be equal on every processor.
EXACT = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
OPTIONS = [*EXACT, "-fvisibility=hidden"]
KERNELS = Path("csrc/kernels")

setup(
    ext_modules=[
        Extension("massrl.stream", ["csrc/stream.c"], extra_compile_args=OPTIONS),
        Extension("massrl.images.codecs", ["csrc/codecs.c"], extra_compile_args=OPTIONS),
        Extension(
            "massrl.views.kernels",
            sorted(map(str, KERNELS.glob("*.c"))),
            depends=[str(KERNELS / "kernels.h")],
            extra_compile_args=OPTIONS,
        ),
    ]
)
