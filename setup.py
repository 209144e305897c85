"""Builds the pixel kernels; all else about the package stands in pyproject.toml."""

from setuptools import Extension, setup

# Floats are neither contracted nor reordered: every processor is to come to the same pixels.
EXACT = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

setup(
    ext_modules=[
        Extension(
            "massrl.views.kernels",
            ["src/massrl/views/kernels.c"],
            extra_compile_args=EXACT,
        )
    ]
)
