"""The tasks in NVIDIA IsaacGymEnvs, which knows nothing of it: docs/isaacgymenvs.md."""
