"""The scene in Isaac Gym: hand, table and one object in every environment, and where their rows lie in its tensors."""

import math
from typing import Any, List, NamedTuple, Sequence

import numpy as np
import torch
from isaacgym import gymapi
from torch import Tensor

from resdex_tasks.hand.description import DISTAL_BODIES
from resdex_tasks.hand.geometry import body_names, joint_ranges
from resdex_tasks.hand.shadow_hand import ACTUATED, COUPLED, JOINTS, PALM_DOWN_QUAT
from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import CONTROL_HZ, OBJECT_DENSITY, TABLE_HEIGHT, WristLaw
from resdex_tasks.sims.isaacgym_assets import HandAsset, hand_mass, write_hand, write_object
from resdex_tasks.sims.isaacgym_config import IsaacGymSimConfig
from resdex_tasks.sims.isaacgym_wrist import BodyMasses, DampedWrist
from resdex_tasks.utils.errors import UserError

TABLE_SIZE = 2.0
"""m, along x and y."""
HULL_VERTICES = {False: 255, True: 64}
"""Most corners of a convex shape, and whether PhysX is on the GPU."""
START = {"hand": (0.0, 0.0, TABLE_HEIGHT + 0.5), "object": (0.0, 0.0, TABLE_HEIGHT + 0.15)}
"""m, where the actors are created; the first reset places them."""


def sim_params(config: IsaacGymSimConfig, device: torch.device) -> Any:
    """`gymapi.SimParams` of the configuration; on the GPU the whole pipeline runs there, on the CPU nothing does."""
    physics, params = config.physics, gymapi.SimParams()
    params.dt, params.substeps = 1 / CONTROL_HZ, physics.substeps
    params.up_axis, params.gravity = gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -9.81)
    params.use_gpu_pipeline = params.physx.use_gpu = device.type == "cuda"
    params.physx.solver_type = 1  # TGS
    params.physx.num_position_iterations = physics.position_iterations
    params.physx.num_velocity_iterations = physics.velocity_iterations
    params.physx.contact_offset, params.physx.rest_offset = physics.contact_offset, physics.rest_offset
    params.physx.bounce_threshold_velocity = physics.bounce_threshold_velocity
    params.physx.max_depenetration_velocity = physics.max_depenetration_velocity
    params.physx.max_gpu_contact_pairs = config.contact_pairs
    params.physx.default_buffer_size_multiplier = config.buffer_multiplier
    params.physx.contact_collection = gymapi.ContactCollection.CC_LAST_SUBSTEP  # all substeps' sum is not reliable
    if config.num_threads:
        params.physx.num_threads = config.num_threads
    return params


class Rows(NamedTuple):
    """Where things lie in the engine's tensors."""

    hand: Tensor
    """(N,) int32 actors"""
    object: Tensor
    """(N,) int32 actors"""
    dofs: Tensor
    """(N, 22) int64, in the order of `shadow_hand.JOINTS`."""
    bodies: Tensor
    """(N, 23) int64, in the order of `hand.geometry.body_names`."""


class IsaacGymScene:
    """Everything that is created before `prepare_sim`; nothing can be added or swapped afterwards.

    Args:
        gym, sim: Isaac Gym's, made by whoever owns them.
        objects: the object set.
        object_index: (N,) which object each environment holds.

    Raises:
        UserError: a file cannot be written or imported.
    """

    def __init__(
        self,
        gym: Any,
        sim: Any,
        objects: ObjectSet,
        object_index: Sequence[int],
        config: IsaacGymSimConfig,
        wrist_law: WristLaw,
        device: torch.device,
    ) -> None:
        self.gym, self.sim, self.config, self.device = gym, sim, config, device
        self.num_envs = len(object_index)
        plane = gymapi.PlaneParams()
        plane.normal = gymapi.Vec3(0.0, 0.0, 1.0)
        gym.add_ground(sim, plane)
        params = gym.get_sim_params(sim)
        self._most_corners = HULL_VERTICES[bool(params.physx.use_gpu)]  # its tensors may be on the CPU all the same
        self.wrist = DampedWrist.of(wrist_law, hand_mass(), params.dt / params.substeps)
        hand_file = write_hand(config.physics, self.wrist.palm_mass, self.wrist.palm_inertia)
        self._hand = self._load_hand(hand_file)
        self._dof_props = self._hand_dof_properties(hand_file)
        self._objects = [self._load_object(objects, i) for i in range(len(objects))]
        table_options = gymapi.AssetOptions()
        table_options.fix_base_link = True
        self._table = gym.create_box(sim, TABLE_SIZE, TABLE_SIZE, TABLE_HEIGHT, table_options)
        self._set_friction(self._table)
        self.rows, self.object_com = self._create_envs(object_index)
        self.masses = self._body_masses()

    def _load(self, path: Any, options: Any) -> Any:
        asset = self.gym.load_asset(self.sim, str(path.parent), path.name, options)
        if asset is None:
            raise UserError(f"Isaac Gym cannot import {path}; what it printed says why")
        self._set_friction(asset)
        return asset

    def _set_friction(self, asset: Any) -> None:
        shapes = self.gym.get_asset_rigid_shape_properties(asset)
        for shape in shapes:
            shape.friction = self.config.physics.friction
        self.gym.set_asset_rigid_shape_properties(asset, shapes)

    def _load_hand(self, file: HandAsset) -> Any:
        gym, physics, options = self.gym, self.config.physics, gymapi.AssetOptions()
        options.fix_base_link = False
        options.collapse_fixed_joints = True
        options.disable_gravity = True
        options.thickness = 0.001
        options.linear_damping, options.angular_damping = self.wrist.linear, self.wrist.angular
        options.use_physx_armature = True
        options.flip_visual_attachments = False
        options.default_dof_drive_mode = int(gymapi.DOF_MODE_NONE)  # drives are those of the file's actuators
        asset = self._load(file.path, options)
        self._check_import(asset, file)
        tendons = gym.get_asset_tendon_properties(asset)
        for tendon in tendons:
            tendon.limit_stiffness, tendon.damping = physics.tendon_stiffness, physics.tendon_damping
        gym.set_asset_tendon_properties(asset, tendons)
        if self.config.fingertip_wrenches == "sensor":
            for name in DISTAL_BODIES:
                gym.create_asset_force_sensor(asset, gym.find_asset_rigid_body_index(asset, name), gymapi.Transform())
        return asset

    def _check_import(self, asset: Any, file: HandAsset) -> None:
        gym = self.gym
        expected = (len(body_names()), len(JOINTS), len(COUPLED), file.num_shapes)
        found = (
            gym.get_asset_rigid_body_count(asset),
            gym.get_asset_dof_count(asset),
            gym.get_asset_tendon_count(asset),
            gym.get_asset_rigid_shape_count(asset),
        )
        names = {*gym.get_asset_rigid_body_names(asset), *gym.get_asset_dof_names(asset)}
        missing = sorted({*body_names(), *JOINTS} - names)
        if found != expected or missing:
            raise UserError(
                f"Isaac Gym imports {file.path} with (bodies, joints, tendons, shapes) = {found} instead of {expected}"
                + (f", without {', '.join(missing)}" if missing else "")
            )

    def _hand_dof_properties(self, file: HandAsset) -> Any:
        """The importer drops some of what the file says, so everything is set here, by the joints' names."""
        gym, physics = self.gym, self.config.physics
        props = gym.get_asset_dof_properties(self._hand)
        limits = joint_ranges()
        for joint, name in enumerate(JOINTS):
            row = props[gym.find_asset_dof_index(self._hand, name) : gym.find_asset_dof_index(self._hand, name) + 1]
            driven = name in ACTUATED
            row["hasLimits"] = True
            row["lower"], row["upper"] = limits[joint]
            row["driveMode"] = int(gymapi.DOF_MODE_POS if driven else gymapi.DOF_MODE_NONE)
            row["stiffness"] = physics.finger_gain if driven else 0.0
            row["damping"] = physics.joint_damping
            if driven:
                row["effort"] = file.efforts[name]
            row["friction"], row["armature"] = physics.joint_friction, physics.joint_armature
        return props

    def _load_object(self, objects: ObjectSet, index: int) -> Any:
        options = gymapi.AssetOptions()
        options.density = OBJECT_DENSITY * objects[index].solid_fraction
        options.linear_damping = options.angular_damping = 0.0  # the engine's default drags what turns
        options.override_com = options.override_inertia = True
        options.mesh_normal_mode = gymapi.COMPUTE_PER_VERTEX
        options.vhacd_enabled = False  # the pieces are convex already
        options.default_dof_drive_mode = int(gymapi.DOF_MODE_NONE)
        return self._load(write_object(objects[index], self._most_corners), options)

    def _create_envs(self, object_index: Sequence[int]) -> Any:
        gym, half = self.gym, TABLE_SIZE / 2
        lower, upper = gymapi.Vec3(-half, -half, 0.0), gymapi.Vec3(half, half, TABLE_SIZE)
        most_pieces = max(gym.get_asset_rigid_shape_count(asset) for asset in self._objects)
        num_bodies = len(body_names()) + 2
        num_shapes = gym.get_asset_rigid_shape_count(self._hand) + most_pieces + 1
        dof_order = [gym.find_asset_dof_index(self._hand, name) for name in JOINTS]
        body_order = [gym.find_asset_rigid_body_index(self._hand, name) for name in body_names()]
        hands: List[int] = []
        things: List[int] = []
        first_dof: List[int] = []
        first_body: List[int] = []
        coms: List[List[float]] = []
        for i, which in enumerate(object_index):
            env = gym.create_env(self.sim, lower, upper, max(1, math.isqrt(self.num_envs)))
            gym.begin_aggregate(env, num_bodies, num_shapes, True)
            # filter -1: who touches whom is as the hand's file says; 0: everything
            hand = gym.create_actor(env, self._hand, _pose(START["hand"], PALM_DOWN_QUAT), "hand", i, -1, 0)
            thing = gym.create_actor(env, self._objects[which], _pose(START["object"]), "object", i, 0, 0)
            gym.create_actor(env, self._table, _pose((0.0, 0.0, TABLE_HEIGHT / 2)), "table", i, -1, 0)
            gym.set_actor_dof_properties(env, hand, self._dof_props)
            gym.end_aggregate(env)
            if i == 0:
                self._first_env, self._first_hand = env, hand
                self._check_dof_properties()
            hands.append(gym.get_actor_index(env, hand, gymapi.DOMAIN_SIM))
            things.append(gym.get_actor_index(env, thing, gymapi.DOMAIN_SIM))
            first_dof.append(gym.get_actor_dof_index(env, hand, 0, gymapi.DOMAIN_SIM))
            first_body.append(gym.get_actor_rigid_body_index(env, hand, 0, gymapi.DOMAIN_SIM))
            com = gym.get_actor_rigid_body_properties(env, thing)[0].com
            coms.append([com.x, com.y, com.z])

        def tensor(values: Any, dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)

        rows = Rows(
            tensor(hands, torch.int32),
            tensor(things, torch.int32),
            tensor(np.add.outer(first_dof, dof_order), torch.int64),
            tensor(np.add.outer(first_body, body_order), torch.int64),
        )
        return rows, tensor(coms, torch.float32)

    def _check_dof_properties(self) -> None:
        taken = self.gym.get_actor_dof_properties(self._first_env, self._first_hand)
        wrong = [
            field
            for field in self._dof_props.dtype.names
            if not np.allclose(taken[field], self._dof_props[field], rtol=1e-4, atol=1e-6)
        ]
        if wrong:
            raise UserError(f"Isaac Gym did not take the hand's joint properties: {', '.join(wrong)}")

    def _body_masses(self) -> BodyMasses:
        every = self.gym.get_actor_rigid_body_properties(self._first_env, self._first_hand)
        order = [self.gym.find_asset_rigid_body_index(self._hand, name) for name in body_names()]
        bodies = [every[index] for index in order]

        def vectors(items: Sequence[Any]) -> List[List[float]]:
            return [[v.x, v.y, v.z] for v in items]

        def tensor(values: Any) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self.device)

        return BodyMasses(
            tensor([body.mass for body in bodies]),
            tensor(vectors([body.com for body in bodies])),
            tensor([vectors([body.inertia.x, body.inertia.y, body.inertia.z]) for body in bodies]),
        )


def _pose(position: Sequence[float], quat: Sequence[float] = (0.0, 0.0, 0.0, 1.0)) -> Any:
    return gymapi.Transform(gymapi.Vec3(*position), gymapi.Quat(*quat))
