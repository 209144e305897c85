"""Backbone weights: load them from any project or library, and export them to other tools."""
