"""Shape codes of objects, and clusters of objects by their codes (Sec. 4.3)."""
