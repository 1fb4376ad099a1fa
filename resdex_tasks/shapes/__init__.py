"""Shape codes of objects and clusters on them (Sec. 4.3)."""
