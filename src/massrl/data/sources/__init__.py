"""Kinds of data sources, one module each; ``registry.SOURCES`` lists them."""
