"""The objects tool: python -m runners.objects."""
