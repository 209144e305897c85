"""How weights are changed: optimisers, parameter groups and schedules."""
