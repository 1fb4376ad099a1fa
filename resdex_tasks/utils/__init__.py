"""Helpers that know nothing of the task."""
