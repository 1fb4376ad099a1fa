"""The ShadowHand: joint names, constants, geometry."""
