"""Training: the steps, the schedules in use, and everything that watches a run."""
