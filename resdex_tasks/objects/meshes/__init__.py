"""A folder of the user's own meshes as objects: read, made solid, cut into convex pieces, laid on the table."""
