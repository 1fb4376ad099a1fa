"""Our agents under IsaacGymEnvs' own train.py: docs/isaacgymenvs.md."""
