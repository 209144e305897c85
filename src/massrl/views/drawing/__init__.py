"""Contact sheets of views and charts of policies."""
