"""Names of `isaacgym.gymapi`."""

# ruff: noqa: F401
from .engine import Asset, Env, Gym, Sim, acquire_gym
from .structs import (
    AssetOptions,
    CameraProperties,
    ContactCollection,
    CoordinateSpace,
    DofDriveMode,
    FlexParams,
    ForceSensorProperties,
    IndexDomain,
    Mat33,
    MeshNormalMode,
    PhysXParams,
    PlaneParams,
    Quat,
    RigidBodyProperties,
    RigidShapeProperties,
    SimParams,
    SimType,
    TendonProperties,
    Transform,
    UpAxis,
    Vec3,
    VhacdParams,
)
from .tensors import Tensor

SIM_PHYSX, SIM_FLEX = SimType.SIM_PHYSX, SimType.SIM_FLEX
UP_AXIS_Y, UP_AXIS_Z = UpAxis.UP_AXIS_Y, UpAxis.UP_AXIS_Z
DOF_MODE_NONE, DOF_MODE_POS = DofDriveMode.DOF_MODE_NONE, DofDriveMode.DOF_MODE_POS
DOF_MODE_VEL, DOF_MODE_EFFORT = DofDriveMode.DOF_MODE_VEL, DofDriveMode.DOF_MODE_EFFORT
ENV_SPACE, LOCAL_SPACE = CoordinateSpace.ENV_SPACE, CoordinateSpace.LOCAL_SPACE
GLOBAL_SPACE = CoordinateSpace.GLOBAL_SPACE
DOMAIN_ACTOR, DOMAIN_ENV, DOMAIN_SIM = IndexDomain.DOMAIN_ACTOR, IndexDomain.DOMAIN_ENV, IndexDomain.DOMAIN_SIM
CC_NEVER, CC_LAST_SUBSTEP = ContactCollection.CC_NEVER, ContactCollection.CC_LAST_SUBSTEP
CC_ALL_SUBSTEPS = ContactCollection.CC_ALL_SUBSTEPS
FROM_ASSET, COMPUTE_PER_VERTEX = MeshNormalMode.FROM_ASSET, MeshNormalMode.COMPUTE_PER_VERTEX
COMPUTE_PER_FACE = MeshNormalMode.COMPUTE_PER_FACE
INVALID_HANDLE = -1
