"""Damaged and hostile input of every kind, in child processes: no crash, no traceback, no hang.

``make fuzz`` runs all cases and writes ``benchmarks/results/fuzz.md``; ``test_fuzz.py`` runs a few of each.
A kind of input is a module with a class ``Cases``; a case is a pure function of a seed and its number.
"""
