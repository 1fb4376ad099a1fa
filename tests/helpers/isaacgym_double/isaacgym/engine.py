"""`gymapi.Gym`: the calls, and the rules about when and with what they may be made."""

import copy
import inspect
import weakref
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import torch

from .assets import Asset, load_mjcf, load_urdf, make_box
from .structs import (
    AssetOptions,
    ContactCollection,
    CoordinateSpace,
    ForceSensorProperties,
    IndexDomain,
    Misuse,
    PlaneParams,
    RigidBodyProperties,
    RigidShapeProperties,
    SimParams,
    SimType,
    TendonProperties,
    Transform,
    Vec3,
)
from .tensors import Tensor
from .world import Actor, Layout, World, body_properties, build_model

WXYZ = [3, 0, 1, 2]


class Env:
    """One environment while it is built."""

    def __init__(self, sim: "Sim", index: int, origin: Vec3) -> None:
        self.sim, self.index, self.origin = weakref.proxy(sim), index, origin
        self.actors: List[Actor] = []
        self.aggregate: Optional[List[int]] = None


class Sim:
    """Everything that `create_sim` makes."""

    def __init__(self, params: SimParams) -> None:
        self.params = copy.deepcopy(params)
        self.envs: List[Env] = []
        self.counts = {"actor": 0, "body": 0, "dof": 0, "sensor": 0}
        self.ground = self.prepared = False
        self.frames = 0
        self.fetched = True
        self.worlds: List[World] = []
        self.tensors: Dict[str, torch.Tensor] = {}
        self.staged: Dict[str, Any] = {}
        self.actors: List[Any] = []
        """(environment, actor) by the actor's number in the sim."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda:0" if self.params.use_gpu_pipeline else "cpu")


existing: List[Sim] = []


def acquire_gym(*args: Any) -> "Gym":
    return Gym()


class Gym:
    """`arg0` and its like are the names that the real binding gives."""

    def create_sim(
        self,
        compute_device: int = 0,
        graphics_device: int = 0,
        type: SimType = SimType.SIM_PHYSX,
        params: Optional[SimParams] = None,
    ) -> Optional[Sim]:
        if existing:
            raise Misuse("a process has one sim: Foundation object exists already")
        params = params or SimParams()
        if params.use_gpu_pipeline and not params.physx.use_gpu:
            raise Misuse("the GPU pipeline needs PhysX on the GPU")
        if type is not SimType.SIM_PHYSX:
            return None
        existing.append(Sim(params))
        return existing[0]

    def destroy_sim(self, arg0: Sim) -> None:
        """The real engine cannot make another one after this; tests can."""
        if arg0 in existing:
            existing.remove(arg0)

    def get_sim_params(self, arg0: Sim) -> SimParams:
        return copy.deepcopy(arg0.params)

    def set_sim_params(self, arg0: Sim, arg1: SimParams) -> None:
        arg0.params = copy.deepcopy(arg1)

    def add_ground(self, sim: Sim, params: PlaneParams) -> None:
        if abs(params.normal.z - 1) > 1e-6:
            raise Misuse("the ground's normal is not +z, which is up here")
        sim.ground = True

    def load_asset(self, sim: Sim, rootpath: str, filename: str, options: Optional[AssetOptions] = None) -> Asset:
        _building(sim)
        path = Path(rootpath) / filename
        if not path.is_file():
            raise Misuse(f"there is no file {path}")
        if path.suffix == ".xml":
            return load_mjcf(path, options)
        return load_urdf(path, options, sim.params.physx.use_gpu)

    def create_box(
        self, sim: Sim, width: float, height: float, depth: float, options: Optional[AssetOptions] = None
    ) -> Asset:
        _building(sim)
        return make_box((width, height, depth), options)

    def get_asset_rigid_body_count(self, arg0: Asset) -> int:
        return len(arg0.bodies)

    def get_asset_rigid_shape_count(self, arg0: Asset) -> int:
        return len(arg0.shapes)

    def get_asset_dof_count(self, arg0: Asset) -> int:
        return len(arg0.dofs)

    def get_asset_tendon_count(self, arg0: Asset) -> int:
        return len(arg0.tendons)

    def get_asset_actuator_count(self, arg0: Asset) -> int:
        return len(arg0.actuated)

    def get_asset_actuator_joint_name(self, arg0: Asset, arg1: int) -> str:
        return arg0.actuated[arg1]

    def get_asset_dof_names(self, arg0: Asset) -> List[str]:
        return list(arg0.dofs)

    def get_asset_rigid_body_names(self, arg0: Asset) -> List[str]:
        return list(arg0.bodies)

    def get_asset_tendon_name(self, arg0: Asset, arg1: int) -> str:
        return arg0.tendons[arg1]

    def get_asset_dof_properties(self, arg0: Asset) -> np.ndarray:
        return arg0.dof_props.copy()

    def get_asset_tendon_properties(self, arg0: Asset) -> List[TendonProperties]:
        return copy.deepcopy(arg0.tendon_props)

    def set_asset_tendon_properties(self, arg0: Asset, arg1: List[TendonProperties]) -> bool:
        arg0.check_open()
        arg0.tendon_props = copy.deepcopy(arg1)
        return True

    def get_asset_rigid_shape_properties(self, arg0: Asset) -> List[RigidShapeProperties]:
        return copy.deepcopy(arg0.shapes)

    def set_asset_rigid_shape_properties(self, arg0: Asset, arg1: List[RigidShapeProperties]) -> bool:
        arg0.check_open()
        arg0.shapes = copy.deepcopy(arg1)
        return True

    def find_asset_dof_index(self, arg0: Asset, arg1: str) -> int:
        return arg0.dofs.index(arg1) if arg1 in arg0.dofs else -1

    def find_asset_rigid_body_index(self, arg0: Asset, arg1: str) -> int:
        return arg0.bodies.index(arg1) if arg1 in arg0.bodies else -1

    def create_asset_force_sensor(
        self, asset: Asset, body_idx: int, local_pose: Transform, props: Optional[ForceSensorProperties] = None
    ) -> int:
        asset.check_open()
        if not 0 <= body_idx < len(asset.bodies):
            raise Misuse(f"there is no body {body_idx} for a force sensor")
        asset.sensors.append((body_idx, copy.deepcopy(local_pose), props or ForceSensorProperties()))
        return len(asset.sensors) - 1

    def create_env(self, arg0: Sim, arg1: Vec3, arg2: Vec3, arg3: int) -> Env:
        _building(arg0)
        index = len(arg0.envs)
        width, depth = arg2.x - arg1.x, arg2.y - arg1.y
        env = Env(arg0, index, Vec3(width * (index % arg3), depth * (index // arg3), 0.0))
        arg0.envs.append(env)
        return env

    def get_env_origin(self, arg0: Env) -> Vec3:
        return copy.deepcopy(arg0.origin)

    def begin_aggregate(self, arg0: Env, arg1: int, arg2: int, arg3: bool) -> bool:
        arg0.aggregate = [arg1, arg2]
        return True

    def end_aggregate(self, arg0: Env) -> bool:
        arg0.aggregate = None
        return True

    def create_actor(
        self,
        env: Env,
        asset: Asset,
        pose: Transform,
        name: str = "",
        group: int = -1,
        filter: int = -1,
        segmentationId: int = 0,
    ) -> int:
        sim = env.sim
        _building(sim)
        if env.aggregate is not None:
            env.aggregate = [room - n for room, n in zip(env.aggregate, (len(asset.bodies), len(asset.shapes)))]
            if min(env.aggregate) < 0:
                raise Misuse("the aggregate is too small for its actors")
        asset.used = True
        actor = Actor(asset, pose, name, group, filter, dict(sim.counts))
        env.actors.append(actor)
        sim.actors.append((env.index, actor))
        sizes = {"actor": 1, "body": len(asset.bodies), "dof": len(asset.dofs), "sensor": len(asset.sensors)}
        for kind, size in sizes.items():
            sim.counts[kind] += size
        return len(env.actors) - 1

    def get_actor_index(self, arg0: Env, arg1: int, arg2: IndexDomain) -> int:
        return arg0.actors[arg1].rows["actor"] if arg2 is IndexDomain.DOMAIN_SIM else arg1

    def get_actor_dof_index(self, arg0: Env, arg1: int, arg2: int, arg3: IndexDomain) -> int:
        return _row(arg0, arg1, "dof", arg2, arg3)

    def get_actor_rigid_body_index(self, arg0: Env, arg1: int, arg2: int, arg3: IndexDomain) -> int:
        return _row(arg0, arg1, "body", arg2, arg3)

    def get_actor_dof_properties(self, arg0: Env, arg1: int) -> np.ndarray:
        return arg0.actors[arg1].dof_props.copy()

    def set_actor_dof_properties(self, arg0: Env, arg1: int, arg2: np.ndarray) -> bool:
        actor = arg0.actors[arg1]
        if arg2.dtype != actor.dof_props.dtype or arg2.shape != actor.dof_props.shape:
            raise Misuse("these are not the DOF properties of this actor")
        _building(arg0.sim)
        actor.dof_props = arg2.copy()
        return True

    def get_actor_rigid_shape_properties(self, arg0: Env, arg1: int) -> List[RigidShapeProperties]:
        return copy.deepcopy(arg0.actors[arg1].shapes)

    def set_actor_rigid_shape_properties(self, arg0: Env, arg1: int, arg2: List[RigidShapeProperties]) -> bool:
        arg0.actors[arg1].shapes = copy.deepcopy(arg2)
        return True

    def get_actor_rigid_body_properties(self, arg0: Env, arg1: int) -> List[RigidBodyProperties]:
        asset = arg0.actors[arg1].asset
        if not hasattr(asset, "masses"):
            asset.masses = body_properties(asset, arg0.sim.params)
        return copy.deepcopy(asset.masses)

    def prepare_sim(self, arg0: Sim) -> bool:
        _building(arg0)
        models: Dict[Any, Any] = {}
        for env in arg0.envs:
            key = tuple(actor.key() for actor in env.actors)
            if key not in models:
                model = build_model(env.actors, arg0.params, arg0.ground)
                models[key] = model, Layout(model, env.actors)
            arg0.worlds.append(World(*models[key], env.actors))
        arg0.prepared = True
        counts, device = arg0.counts, arg0.device
        shapes = {
            "root": (counts["actor"], 13),
            "dof": (counts["dof"], 2),
            "body": (counts["body"], 13),
            "sensor": (counts["sensor"], 6),
            "contact": (counts["body"], 3),
        }
        arg0.tensors = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}
        return True

    def get_sim_actor_count(self, arg0: Sim) -> int:
        return arg0.counts["actor"]

    def get_sim_dof_count(self, arg0: Sim) -> int:
        return arg0.counts["dof"]

    def get_sim_rigid_body_count(self, arg0: Sim) -> int:
        return arg0.counts["body"]

    def get_sim_force_sensor_count(self, arg0: Sim) -> int:
        return arg0.counts["sensor"]

    def get_frame_count(self, arg0: Sim) -> int:
        return arg0.frames

    def acquire_actor_root_state_tensor(self, arg0: Sim) -> Tensor:
        return _acquire(arg0, "root")

    def acquire_dof_state_tensor(self, arg0: Sim) -> Tensor:
        return _acquire(arg0, "dof")

    def acquire_rigid_body_state_tensor(self, arg0: Sim) -> Tensor:
        return _acquire(arg0, "body")

    def acquire_force_sensor_tensor(self, arg0: Sim) -> Tensor:
        return _acquire(arg0, "sensor")

    def acquire_net_contact_force_tensor(self, arg0: Sim) -> Tensor:
        return _acquire(arg0, "contact")

    def refresh_actor_root_state_tensor(self, arg0: Sim) -> bool:
        return _refresh(arg0, "root")

    def refresh_dof_state_tensor(self, arg0: Sim) -> bool:
        return _refresh(arg0, "dof")

    def refresh_rigid_body_state_tensor(self, arg0: Sim) -> bool:
        return _refresh(arg0, "body")

    def refresh_force_sensor_tensor(self, arg0: Sim) -> bool:
        return _refresh(arg0, "sensor")

    def refresh_net_contact_force_tensor(self, arg0: Sim) -> bool:
        return _refresh(arg0, "contact")

    def set_actor_root_state_tensor(self, arg0: Sim, arg1: Tensor) -> bool:
        return _stage(arg0, "root", arg1)

    def set_actor_root_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int) -> bool:
        return _stage(arg0, "root", arg1, arg2, arg3)

    def set_dof_state_tensor(self, arg0: Sim, arg1: Tensor) -> bool:
        return _stage(arg0, "dof", arg1)

    def set_dof_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int) -> bool:
        return _stage(arg0, "dof", arg1, arg2, arg3)

    def set_dof_position_target_tensor(self, arg0: Sim, arg1: Tensor) -> bool:
        return _stage(arg0, "target", arg1)

    def set_dof_position_target_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int) -> bool:
        return _stage(arg0, "target", arg1, arg2, arg3)

    def apply_rigid_body_force_tensors(
        self,
        sim: Sim,
        forceTensor: Optional[Tensor] = None,
        torqueTensor: Optional[Tensor] = None,
        space: CoordinateSpace = CoordinateSpace.ENV_SPACE,
    ) -> bool:
        if space is CoordinateSpace.LOCAL_SPACE:
            raise NotImplementedError("the double applies forces along the axes of the environment")
        return _stage(sim, "force", forceTensor) and _stage(sim, "torque", torqueTensor)

    def simulate(self, arg0: Sim) -> None:
        from .stepping import simulate

        if not arg0.prepared:
            raise Misuse("simulate comes after prepare_sim")
        simulate(arg0)

    def fetch_results(self, arg0: Sim, arg1: bool) -> None:
        arg0.fetched = True


def _building(sim: Sim) -> None:
    if sim.prepared:
        raise Misuse(f"{inspect.stack()[1].function} comes before prepare_sim")


def _row(env: Env, actor: int, kind: str, index: int, domain: IndexDomain) -> int:
    if domain is not IndexDomain.DOMAIN_SIM:
        raise NotImplementedError("the double numbers rows of the whole sim")
    return env.actors[actor].rows[kind] + index


def _acquire(sim: Sim, name: str) -> Tensor:
    if not sim.prepared:
        raise Misuse("tensors are acquired after prepare_sim")
    return Tensor(sim.tensors[name], owned=True)


def _stage(sim: Sim, name: str, values: Optional[Tensor], ids: Optional[Tensor] = None, count: int = 0) -> bool:
    """Note what the next simulate will read."""
    if not sim.prepared:
        raise Misuse("nothing is set before prepare_sim")
    if name in sim.staged:
        raise Misuse(f"{name} is set twice between two simulates; the engine keeps one")
    if values is None:
        return True
    dofs, bodies = sim.counts["dof"], sim.counts["body"]
    numbers = {"root": sim.counts["actor"] * 13, "dof": dofs * 2, "target": dofs, "force": bodies * 3}
    expected = numbers["force" if name == "torque" else name]
    if values.dtype != torch.float32 or int(np.prod(values.shape)) != expected:
        raise Misuse(f"{name} needs {expected} float32; got {values.shape} of {values.dtype}")
    for tensor in (values, ids):
        if tensor is not None and tensor.torch_device != sim.device:
            raise Misuse(f"{name} is on {tensor.torch_device}; the pipeline's tensors are on {sim.device}")
    if ids is not None:
        _check_ids(sim, name, ids, count)
    sim.staged[name] = values, ids, count
    return True


def _check_ids(sim: Sim, name: str, ids: Tensor, count: int) -> None:
    if ids.dtype != torch.int32 or ids.ndim() != 1:
        raise Misuse(f"indices are int32 and 1-D; got {ids.dtype} of {ids.shape}")
    if count > ids.shape[0]:
        raise Misuse(f"{count} indices are announced and {ids.shape[0]} given")
    chosen = ids.values()[:count].tolist()
    if chosen and not 0 <= min(chosen) <= max(chosen) < sim.counts["actor"]:
        raise Misuse("an index is that of no actor")
    if name in ("dof", "target") and not all(sim.actors[i][1].asset.dofs for i in chosen):
        raise Misuse("an index is that of an actor without DOFs")


def _refresh(sim: Sim, name: str) -> bool:
    if not sim.fetched and not sim.params.use_gpu_pipeline:
        raise Misuse("on the CPU pipeline, fetch_results comes before the tensors are refreshed")
    if name == "contact" and sim.params.physx.contact_collection is ContactCollection.CC_NEVER:
        return True
    from .stepping import rows

    sim.tensors[name].copy_(torch.from_numpy(rows(sim, name)))
    return True
