"""How often long work says how far it is."""

LINE_INTERVAL = 30.0
"""s between two lines where the output is no terminal and shows no bar."""
