"""Pictures of views and policies."""
