"""The GPU simulator: MuJoCo Warp steps thousands of environments on one device, every one with its own object.

The tensors share memory with the engine's arrays, and the control step is one captured graph: commands and states never
pass through the host. Warp has a CPU device too, where everything here works alike, for tests.
"""

import copy
import gc
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Tuple

import mujoco
import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.sims.base import SURFACE_TOLERANCE, Overflow, WristLaw
from resdex_tasks.sims.mujoco_common import MujocoGraspSim
from resdex_tasks.sims.mujoco_config import MujocoWarpSimConfig
from resdex_tasks.sims.mujoco_scene import Scene
from resdex_tasks.utils.errors import UserError

wp.config.log_level = wp.LOG_WARNING  # else a line for each of the engine's many kernels

MAX_VALUE = 1e10
"""A position or velocity above it is a breakdown, as in MuJoCo (mjMAXVAL)."""
FLAGS = mjw.OverflowType
OVERFLOWS = {
    "contacts": (FLAGS.BROADPHASE | FLAGS.NARROWPHASE | FLAGS.CCD, "raise sim.contactsPerEnv above {contacts}"),
    "constraints": (FLAGS.NEFC | FLAGS.NJMAX_NNZ, "raise sim.constraintsPerEnv above {constraints}"),
    "fingertip_contacts": (FLAGS.CONTACT_MATCH, "a fingertip met more than {matches}; give the object fewer pieces"),
    "penetration_searches": (FLAGS.EPA_HORIZON, "give the object's pieces fewer faces"),
}
"""What was dropped -> the engine's flags that say so, and what to change. Its other flags tell of the solver stopping
after its iterations, as it shall, or of features that the scene has not."""
ALL_GROUPS = wp.types.vector(length=6, dtype=int)(-1)
"""The engine's mark of rays that any geom stops."""
FAR = -1000.0
"""m, along each axis: out of sight."""
SAVED = ("qpos", "qvel", "qacc_warmstart", "ctrl", "xfrc_applied", "sensordata")
"""What the next step depends on, and what was sensed in the last one."""


def contacts_per_env(scene: Scene) -> int:
    """Room for contacts, per environment on average: they share one buffer.

    Pairs of geoms that are near enough to be checked need room in it too, and an object's pieces lie close together.
    """
    return 40 + 2 * scene.used.shape[1]


def constraints_per_env(scene: Scene) -> int:
    """Room for an environment's constraints: friction and limits of the joints and tendons, three rows a contact."""
    model = scene.model
    friction_and_limits = int((model.dof_frictionloss > 0).sum() + model.jnt_limited.sum() + model.tendon_limited.sum())
    return friction_and_limits + int(model.geom_condim.max()) * contacts_per_env(scene)


class MujocoWarpSim(MujocoGraspSim):
    """`mujoco_warp` behind the simulator interface.

    Args:
        device: cuda:N, or cpu for tests.
    """

    def __init__(
        self,
        objects: ObjectSet,
        object_index: Tensor,
        config: MujocoWarpSimConfig,
        wrist_law: WristLaw,
        device: str,
    ) -> None:
        super().__init__(objects, object_index, config.physics, wrist_law, device)
        self.max_contacts = config.contacts_per_env or contacts_per_env(self.scene)
        self.max_constraints = config.constraints_per_env or constraints_per_env(self.scene)
        model = copy.copy(self.scene.model)
        # the engine has no midphase to switch off, and refuses the flag
        model.opt.disableflags &= ~mujoco.mjtDisableBit.mjDSBL_MIDPHASE.value
        # with a single row the engine would compile without the test that skips unused piece slots
        rows = max(2, self.num_envs)
        self.warp_device = _usable(wp.get_device(str(self.device)))
        with wp.ScopedDevice(self.warp_device):
            self.model = mjw.put_model(model, batch_sizes=dict.fromkeys(self.scene.tables, rows))
            self.model.opt.warn_overflow = 0  # counted below instead of printed by every thread
            # an old driver cannot end the solver's loop inside a graph: it then always runs all iterations
            self.model.opt.graph_conditional = self.warp_device.is_cpu or wp.is_conditional_graph_supported()
            self.data = mjw.make_data(model, self.num_envs, nconmax=self.max_contacts, njmax=self.max_constraints)
        self.arrays = {name: wp.to_torch(getattr(self.data, name)) for name in SAVED}
        self._wrist_wrench = self.arrays["xfrc_applied"][:, self._root_body]
        self._geom_type = torch.as_tensor(model.geom_type, device=self.device)
        self._overflow = wp.to_torch(self.data.overflow)
        flags = [int(flag) for flag, _ in OVERFLOWS.values()]
        self._overflow_flags = torch.tensor(flags, dtype=torch.int32, device=self.device)
        self._overflow_counts = torch.zeros(len(flags), dtype=torch.int64, device=self.device)

        self._fields = {field: wp.to_torch(getattr(self.model, field)) for field in self.scene.tables}
        self._tables = self._device_tables()
        self.put_objects(torch.arange(self.num_envs, device=self.device), self.object_index.clone())

        self._reset_mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        self._warp_mask = wp.from_torch(self._reset_mask)
        self._reset_graph = self._capture(self._reset)
        self._observe_graph = self._capture(self._observe)
        self._step_graph = self._capture(self._physics)
        self._reset_everything()

    def _device_tables(self) -> Dict[str, Tensor]:
        """Model field -> (num_objects, rows, ...) on the device, as `self._fields` has it."""
        tables = {}
        for field, table in self.scene.tables.items():
            here = self._fields[field]
            values = torch.as_tensor(table).to(self.device, here.dtype, copy=True)
            tables[field] = values.reshape(*table.shape[:2], *here.shape[2:])
        used = torch.as_tensor(self.scene.used, device=self.device)
        tables["geom_dataid"][~used] = -1  # the engine's mark of a geom that is absent from an environment
        return tables

    def _physics(self) -> None:
        for _ in range(self.physics.substeps):
            mjw.step(self.model, self.data)
        self._observe()

    def _observe(self) -> None:
        """Positions, velocities and their sensors from qpos and qvel; contact sensors keep the last step's values."""
        mjw.kinematics(self.model, self.data)
        mjw.com_pos(self.model, self.data)
        mjw.com_vel(self.model, self.data)
        mjw.sensor_pos(self.model, self.data)
        mjw.sensor_vel(self.model, self.data)

    def _reset(self) -> None:
        mjw.reset_data(self.model, self.data, self._warp_mask)

    def _capture(self, work: Callable[[], None]) -> wp.Graph:
        """A graph of the work's kernels; it goes on using the arrays that it was captured with."""
        with wp.ScopedDevice(self.warp_device):
            work()  # compiles and loads the kernels, so that the capture meets nothing but launches
            with _no_garbage_collection(), wp.ScopedCapture() as capture:
                work()
        return capture.graph

    def _run(self, graph: wp.Graph) -> None:
        # torch's work on its default stream and warp's on its own wait for each other, as CUDA's rules for the
        # default stream have it; inside `torch.cuda.stream(...)` they would not
        wp.capture_launch(graph)
        self._state = None

    def _reset_everything(self) -> None:
        """Undo what warming up for the capture did."""
        self._reset_mask.fill_(True)
        self._run(self._reset_graph)
        self._run(self._observe_graph)
        self._overflow.zero_()

    def physics_step(self) -> None:
        """The engine's share of `step`: the graph, under the commands that were written last."""
        self._run(self._step_graph)

    def step(self, joint_targets: Tensor, wrist_force: Tensor, wrist_torque: Tensor) -> None:
        self.arrays["ctrl"].copy_(joint_targets)
        self._wrist_wrench[:, :3] = wrist_force
        self._wrist_wrench[:, 3:] = wrist_torque
        self.physics_step()
        self._overflow_counts += ((self._overflow[:, None] & self._overflow_flags) != 0).any(dim=0)
        self._overflow.zero_()
        self.diverged = ~(self._largest("qpos").maximum(self._largest("qvel")) < MAX_VALUE)  # a NaN is not below it
        if self.diverged.any():
            self._reset_mask.copy_(self.diverged)
            self._run(self._reset_graph)
            self._run(self._observe_graph)

    def _largest(self, name: str) -> Tensor:
        """(N,) largest absolute value."""
        return self.arrays[name].abs().amax(dim=1)

    def _raw_state(self) -> Tuple[Tensor, Tensor, Tensor]:
        return self.arrays["qpos"], self.arrays["qvel"], self.arrays["sensordata"]

    def reset(self, env_ids: Tensor, root_pose: Tensor, joint_pos: Tensor, object_pose: Tensor) -> None:
        if len(env_ids) == 0:
            return
        self._reset_mask.fill_(False)
        self._reset_mask[env_ids] = True
        self._run(self._reset_graph)
        self.arrays["qpos"][env_ids] = self._qpos_of(root_pose, joint_pos, object_pose)
        self.arrays["ctrl"][env_ids] = joint_pos[:, self._actuated]
        self._run(self._observe_graph)

    def sees(self, eyes: Tensor, points: Tensor) -> Tensor:
        rays = points[:, None] - eyes[:, None]  # (N, C, K, 3)
        n, cameras, count, _ = rays.shape
        origins = eyes[:, None].expand(n, cameras, count, 3)
        size = (n, cameras * count)
        dist, geom = torch.empty(size, device=self.device), torch.empty(size, dtype=torch.int32, device=self.device)
        length = rays.norm(dim=-1, keepdim=True)
        unit = rays / length  # which the engine's rays have to be
        normal, no_body = torch.empty(*size, 3, device=self.device), torch.full_like(geom[0], -1)
        vectors = [wp.from_torch(v.reshape(*size, 3).contiguous(), dtype=wp.vec3) for v in (origins, unit, normal)]
        # the engine looks up the mesh of a slot that is absent here: it gets one, out of sight
        meshes, places = self._fields["geom_dataid"], wp.to_torch(self.data.geom_xpos)
        absent = (meshes[:n] < 0) & (self._geom_type == mujoco.mjtGeom.mjGEOM_MESH)
        kept = meshes.clone()
        meshes[:n][absent], places[absent] = 0, FAR
        with wp.ScopedDevice(self.warp_device):
            mjw.rays(
                self.model,
                self.data,
                *vectors[:2],
                ALL_GROUPS,
                True,
                wp.from_torch(no_body),
                wp.from_torch(dist),
                wp.from_torch(geom),
                vectors[2],
            )
        meshes.copy_(kept)
        return dist.reshape(n, cameras, count) >= length[..., 0] - SURFACE_TOLERANCE

    def put_objects(self, env_ids: Tensor, object_index: Tensor) -> None:
        for field, table in self._tables.items():
            self._fields[field][env_ids, self.scene.rows[field]] = table[object_index]
        self.object_index[env_ids] = object_index

    def get_state(self) -> dict:
        return {"object_index": self.object_index.clone(), **{n: a.clone() for n, a in self.arrays.items()}}

    def set_state(self, state: dict) -> None:
        index = state["object_index"].to(self.device)
        self.put_objects(torch.arange(self.num_envs, device=self.device), index)
        for name, array in self.arrays.items():
            array.copy_(state[name])
        self._run(self._observe_graph)

    def overflows(self) -> List[Overflow]:
        sizes = {
            "contacts": self.max_contacts,
            "constraints": self.max_constraints,
            "matches": self.model.opt.contact_sensor_maxmatch,
        }
        counts = self._overflow_counts.tolist()
        return [Overflow(n, c, remedy.format(**sizes)) for c, (n, (_, remedy)) in zip(counts, OVERFLOWS.items())]


def _usable(device: wp.Device) -> wp.Device:
    """The device, unless it cannot capture graphs of work that allocates."""
    if device.is_cuda and not wp.is_mempool_enabled(device):
        raise UserError(f"sim=mujoco_warp needs CUDA's memory pools, which {device} ({device.name}) does not have")
    return device


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A graph that is collected while another one is captured would record its destruction into it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
