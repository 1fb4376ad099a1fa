"""Rendering without a screen or a GPU."""
