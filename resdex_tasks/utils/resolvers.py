"""What stands in cfg/ as `${name:...}` and is worked out here. Imports no torch: Isaac Gym must come before it."""

from omegaconf import OmegaConf

from resdex_tasks.utils.errors import UserError


def minibatch_size(num_envs: int, horizon: int, num_minibatches: int) -> int:
    """Steps of a minibatch.

    Raises:
        UserError: a number is none, or the batch does not divide.
    """
    for name, value in (("num_envs", num_envs), ("horizon_length", horizon), ("num_minibatches", num_minibatches)):
        if type(value) is not int or value < 1:
            raise UserError(f"{name} is {value}; it must be an integer of at least 1")
    if num_envs * horizon % num_minibatches:
        raise UserError(
            f"num_envs={num_envs} x horizon_length={horizon} does not divide into num_minibatches={num_minibatches}"
        )
    return num_envs * horizon // num_minibatches


def register_resolvers() -> None:
    """Make them known, IsaacGymEnvs' `resolve_default` among them."""
    OmegaConf.register_new_resolver("resolve_default", lambda d, a: d if a in ("", None) else a, replace=True)
    OmegaConf.register_new_resolver("minibatch_size", minibatch_size, replace=True)
