"""DexGraspNet, in its own and in UniDexGrasp's layout."""
