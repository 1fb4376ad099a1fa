"""Grasp proposals g = (R, t, q): candidates, trials, search, file (Sec. 3.1)."""
