"""Self-supervised objectives on N views."""
