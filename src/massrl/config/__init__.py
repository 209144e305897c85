"""What a run and an evaluation are asked for: sections of fields, files, flags and their checks."""
