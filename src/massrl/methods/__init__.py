"""Objectives: what is learnt from N views, as plain modules that read like their papers."""
