"""What a run is told: `load_config(command line) -> RunConfig`."""

from runners.config.run_config import GROUPS, NEWEST, CommandSettings, RunConfig, TaskSettings, choices, load_config

__all__ = ["GROUPS", "NEWEST", "CommandSettings", "RunConfig", "TaskSettings", "choices", "load_config"]
