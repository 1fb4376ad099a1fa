"""DexGraspNet's objects and grasps, in its own layout and in UniDexGrasp's."""
