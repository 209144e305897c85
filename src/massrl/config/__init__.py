"""Options of runs and evaluations: dataclasses of fields, layers of files and flags, checks."""
