"""Where objects come from, and what they are."""
