"""Found by Hydra, which imports every module of the package `hydra_plugins`, wherever it is installed."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from resdex_tasks.isaacgymenvs.entry import enter


class ResDexSearchPath(SearchPathPlugin):
    """Enters our tasks where Hydra composes a configuration of IsaacGymEnvs."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        enter(search_path)
