"""What happens after each optimiser step, a subject a module."""
