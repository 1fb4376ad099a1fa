"""Whole methods in one command."""
