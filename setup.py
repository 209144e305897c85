"""Builds what is in C; all else about the package stands in pyproject.toml."""

from setuptools import Extension, setup

# Floats are neither contracted nor reordered: every processor is to come to the same pixels.
EXACT = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

setup(
    ext_modules=[
        Extension(name, [f"src/{name.replace('.', '/')}.c"], extra_compile_args=EXACT)
        for name in ("massrl.stream", "massrl.views.kernels")
    ]
)
