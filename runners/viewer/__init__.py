"""Look at a policy."""
