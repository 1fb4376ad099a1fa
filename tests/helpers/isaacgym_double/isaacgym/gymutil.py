"""Names of `isaacgym.gymutil` that IsaacGymEnvs' tasks import and do not use before they run."""


def get_property_setter_map(gym):
    raise NotImplementedError("the double randomises nothing")


def get_property_getter_map(gym):
    raise NotImplementedError("the double randomises nothing")
