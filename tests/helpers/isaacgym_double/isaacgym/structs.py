"""The plain structures and enumerations of `gymapi`; attributes are checked as pybind's are."""

import enum
from typing import Any, ClassVar, Dict

import numpy as np


class Misuse(RuntimeError):
    """A rule of the interface is broken."""


class _Struct:
    """Attributes with fixed names and types; `FIELDS` gives their defaults."""

    FIELDS: ClassVar[Dict[str, Any]] = {}

    def __init__(self) -> None:
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default() if isinstance(default, type) else default)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        kind = type(getattr(self, name))
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        fits = isinstance(value, kind) or (kind is float and number)
        if not fits or (kind is int and isinstance(value, bool)):
            raise TypeError(f"{type(self).__name__}.{name} takes {kind.__name__}, not {type(value).__name__}")
        object.__setattr__(self, name, kind(value) if kind in (float, int) else value)


class Vec3(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {"x": 0.0, "y": 0.0, "z": 0.0}

    def __init__(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        super().__init__()
        self.x, self.y, self.z = x, y, z


class Quat(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}

    def __init__(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, w: float = 1.0) -> None:
        super().__init__()
        self.x, self.y, self.z, self.w = x, y, z, w


class Transform(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {"p": Vec3, "r": Quat}

    def __init__(self, p: Any = None, r: Any = None) -> None:
        super().__init__()
        self.p, self.r = p or Vec3(), r or Quat()


class Mat33(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {"x": Vec3, "y": Vec3, "z": Vec3}


class _Enum(enum.Enum):
    def __int__(self) -> int:
        return self.value


class SimType(_Enum):
    SIM_PHYSX = 0
    SIM_FLEX = 1


class UpAxis(_Enum):
    UP_AXIS_Y = 0
    UP_AXIS_Z = 1


class DofDriveMode(_Enum):
    DOF_MODE_NONE = 0
    DOF_MODE_POS = 1
    DOF_MODE_VEL = 2
    DOF_MODE_EFFORT = 3


class CoordinateSpace(_Enum):
    ENV_SPACE = 0
    LOCAL_SPACE = 1
    GLOBAL_SPACE = 2


class IndexDomain(_Enum):
    DOMAIN_ACTOR = 0
    DOMAIN_ENV = 1
    DOMAIN_SIM = 2


class ContactCollection(_Enum):
    CC_NEVER = 0
    CC_LAST_SUBSTEP = 1
    CC_ALL_SUBSTEPS = 2


class MeshNormalMode(_Enum):
    FROM_ASSET = 0
    COMPUTE_PER_VERTEX = 1
    COMPUTE_PER_FACE = 2


class PhysXParams(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "always_use_articulations": False,
        "bounce_threshold_velocity": 0.2,
        "contact_collection": ContactCollection.CC_ALL_SUBSTEPS,
        "contact_offset": 0.02,
        "default_buffer_size_multiplier": 2.0,
        "friction_correlation_distance": 0.025,
        "friction_offset_threshold": 0.04,
        "max_depenetration_velocity": 100.0,
        "max_gpu_contact_pairs": 1048576,
        "num_position_iterations": 4,
        "num_subscenes": 0,
        "num_threads": 0,
        "num_velocity_iterations": 1,
        "rest_offset": 0.001,
        "solver_type": 1,
        "use_gpu": False,
    }


class FlexParams(_Struct):
    """Of the other engine, which nobody uses here."""


class SimParams(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "dt": 1 / 60,
        "enable_actor_creation_warning": True,
        "flex": FlexParams,
        "gravity": Vec3,
        "num_client_threads": 0,
        "physx": PhysXParams,
        "stress_visualization": False,
        "stress_visualization_max": 1e5,
        "stress_visualization_min": 0.0,
        "substeps": 2,
        "up_axis": UpAxis.UP_AXIS_Y,
        "use_gpu_pipeline": False,
    }


class PlaneParams(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "distance": 0.0,
        "dynamic_friction": 1.0,
        "normal": Vec3,
        "restitution": 0.0,
        "segmentation_id": 0,
        "static_friction": 1.0,
    }


class VhacdParams(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "alpha": 0.05,
        "beta": 0.05,
        "concavity": 0.0,
        "convex_hull_approximation": True,
        "convex_hull_downsampling": 4,
        "max_convex_hulls": 64,
        "max_num_vertices_per_ch": 64,
        "min_volume_per_ch": 0.0001,
        "mode": 0,
        "ocl_acceleration": True,
        "pca": 0,
        "plane_downsampling": 4,
        "project_hull_vertices": True,
        "resolution": 100000,
    }


class AssetOptions(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "angular_damping": 0.5,
        "armature": 0.0,
        "collapse_fixed_joints": False,
        "convex_decomposition_from_submeshes": False,
        "default_dof_drive_mode": 0,
        "density": 1000.0,
        "disable_gravity": False,
        "enable_gyroscopic_forces": True,
        "fix_base_link": False,
        "flip_visual_attachments": True,
        "linear_damping": 0.0,
        "max_angular_velocity": 64.0,
        "max_linear_velocity": 1000.0,
        "mesh_normal_mode": MeshNormalMode.FROM_ASSET,
        "min_particle_mass": 1e-9,
        "override_com": False,
        "override_inertia": False,
        "replace_cylinder_with_capsule": False,
        "slices_per_cylinder": 20,
        "tendon_limit_stiffness": 1.0,
        "thickness": 0.02,
        "use_mesh_materials": False,
        "use_physx_armature": True,
        "vhacd_enabled": False,
        "vhacd_params": VhacdParams,
    }


class ForceSensorProperties(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "enable_constraint_solver_forces": True,
        "enable_forward_dynamics_forces": True,
        "use_world_frame": False,
    }


class TendonProperties(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "damping": 0.0,
        "fixed_lower_limit": 0.0,
        "fixed_spring_rest_length": 0.0,
        "fixed_upper_limit": 0.0,
        "is_fixed_limited": True,
        "limit_stiffness": 1.0,
        "stiffness": 0.0,
    }


class RigidShapeProperties(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "compliance": 0.0,
        "contact_offset": 0.02,
        "filter": 0,
        "friction": 0.5,
        "rest_offset": 0.0,
        "restitution": 0.0,
        "rolling_friction": 0.0,
        "thickness": 0.02,
        "torsion_friction": 0.0,
    }


class RigidBodyProperties(_Struct):
    FIELDS: ClassVar[Dict[str, Any]] = {
        "com": Vec3,
        "flags": 0,
        "inertia": Mat33,
        "invInertia": Mat33,
        "invMass": 0.0,
        "mass": 0.0,
    }


class CameraProperties(_Struct):
    """Named by tasks that open a viewer."""


DOF_PROPERTIES = np.dtype(
    [
        ("hasLimits", "?"),
        ("lower", "f4"),
        ("upper", "f4"),
        ("driveMode", "i4"),
        ("velocity", "f4"),
        ("effort", "f4"),
        ("stiffness", "f4"),
        ("damping", "f4"),
        ("friction", "f4"),
        ("armature", "f4"),
    ]
)
