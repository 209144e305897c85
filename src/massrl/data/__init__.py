"""Data: where images come from, how bytes become pixels, and how sets are split and checked."""
