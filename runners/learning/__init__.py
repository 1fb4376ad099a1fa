"""How it learns: PPO over rl_games."""
