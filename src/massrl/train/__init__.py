"""Training: runs, sessions, steps, processes and callbacks."""
