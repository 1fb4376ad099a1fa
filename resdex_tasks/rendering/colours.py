"""Colours of what is shown, sRGB in [0, 1], in pictures and on the viewer's page."""

OBJECT = (0.93, 0.55, 0.22)
TABLE = (0.86, 0.84, 0.80)
HAND = (0.50, 0.56, 0.64)
"""On the viewer's page; in pictures the hand has its model's own."""
