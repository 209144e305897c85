"""Run folders: their files, log and metrics, and the environment of a run."""
