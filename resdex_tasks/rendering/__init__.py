"""Pictures without a screen or a GPU."""
