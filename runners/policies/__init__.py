"""What was learned: checkpoints, and policies out of them."""
