"""Rotations on batches of xyzw quaternions; all functions broadcast over leading axes."""

import torch
from torch import Tensor


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product: rotate by b, then by a. (..., 4)"""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        (
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ),
        dim=-1,
    )


def quat_conjugate(q: Tensor) -> Tensor:
    """The inverse rotation of a unit quaternion. (..., 4)"""
    return torch.cat((-q[..., :3], q[..., 3:]), dim=-1)


def quat_rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by quaternions (..., 4)."""
    axis, w = q[..., :3], q[..., 3:]
    axis, v = torch.broadcast_tensors(axis, v)
    t = 2 * torch.linalg.cross(axis, v)
    return v + w * t + torch.linalg.cross(axis, t)


def matrix_quat(m: Tensor) -> Tensor:
    """The quaternion of rotation matrices (..., 3, 3), its largest part positive. (..., 4)"""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # each row is the quaternion times four of its own parts; the row of the largest part loses no digits
    rows = torch.stack(
        [
            torch.stack((1 + xx - yy - zz, xy, xz, x), dim=-1),
            torch.stack((xy, 1 - xx + yy - zz, yz, y), dim=-1),
            torch.stack((xz, yz, 1 - xx - yy + zz, z), dim=-1),
            torch.stack((x, y, z, 1 + xx + yy + zz), dim=-1),
        ],
        dim=-2,
    )
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = rows.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    return row / row.norm(dim=-1, keepdim=True)


def axis_quat(axis: int, angle: Tensor) -> Tensor:
    """Rotation about +x (0), +y (1) or +z (2) by `angle` (...) rad. (..., 4)"""
    half, parts = angle / 2, [torch.zeros_like(angle)] * 3
    parts[axis] = half.sin()
    return torch.stack((*parts, half.cos()), dim=-1)


def yaw_quat(yaw: Tensor) -> Tensor:
    """Rotation about +z by `yaw` (...) rad. (..., 4)"""
    return axis_quat(2, yaw)


def rotate_yaw(v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate vectors (..., 3) about +z by the angle with this cosine and sine (...)."""
    x, y, z = v.unbind(-1)
    return torch.stack((cos * x - sin * y, sin * x + cos * y, z), dim=-1)


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle in [0, pi] between two rotations given as (..., 4): 2 asin of the vector part of a b^-1. (...)"""
    vector = quat_mul(a, quat_conjugate(b))[..., :3]
    return 2 * vector.norm(dim=-1).clamp(max=1.0).asin()


def euler_xyz(q: Tensor) -> Tensor:
    """Roll, pitch, yaw of R = Rz(yaw) Ry(pitch) Rx(roll), rad in (-pi, pi]. (..., 4) -> (..., 3)"""
    x, y, z, w = q.unbind(-1)
    roll = torch.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = (2 * (w * y - z * x)).clamp(-1.0, 1.0).asin()
    yaw = torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return torch.stack((roll, pitch, yaw), dim=-1)
