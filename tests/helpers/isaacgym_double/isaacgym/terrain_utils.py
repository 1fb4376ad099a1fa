"""IsaacGymEnvs' terrain tasks import everything from here."""
