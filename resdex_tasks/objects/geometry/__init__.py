"""Geometry of convex pieces: hulls, surfaces, stable poses, placements for the hand."""
