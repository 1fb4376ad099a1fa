"""The ShadowHand: names, limits, geometry."""
