"""What a run leaves behind: its folder, log, metrics, and the environment it ran in."""
