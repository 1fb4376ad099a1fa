"""Geometry of convex pieces: hulls, surfaces, stable poses."""
