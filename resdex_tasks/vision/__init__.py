"""What a policy sees of the object with eyes: points on its surface."""
