"""Synthetic tactile images: contact depth between finger pads and a thing, seen through a gel.

One image shows both pads side by side. Depth is computed from MuJoCo's contacts and from rays
through the touching shapes; colours follow the slope of the pressed gel as in GelSight (Johnson
and Adelson 2009), with three lamps. The texture of a slipping thing is blurred over the exposure.
Nothing here was measured on a real sensor.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from train.simulate.scene import Thing, Vector
from train.simulate.stage import PadWorld
from train.simulate.world import PADS

SIDE = 80  # pixels of a pad
RAYS = 16  # per side
PAD_M = 0.016
GEL_M = 0.008  # distance behind the pad's surface at which rays start
MAX_DEPTH_MM = 2.0
TEXTURE_MM = 0.05
EXPOSURE_S = 1 / 30
SLIPPING_M_S = 0.005
PIXELS_PER_M = SIDE / PAD_M
LAMPS = np.deg2rad([0.0, 120.0, 240.0])
LIGHT, SHADE = 110.0, 90.0
NOISE = 1.5
Plane = NDArray[np.float64]


def touch_truth(world: PadWorld) -> dict[str, bool]:
    """Whether a pad touches anything, by MuJoCo's contacts, and whether the thing slips on it."""
    touched = {other for _, other in world.pad_contacts()}
    things = [t for t in world.scene.things if any(_is_part(name, t) for name in touched)]
    speeds = [float(np.linalg.norm(_in_plane(world, world.relative_velocity(t)))) for t in things]
    return {
        'contact(gripper, something)': bool(touched),
        'slipping(something)': any(speed > SLIPPING_M_S for speed in speeds),
    }


def feel(world: PadWorld, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Render both pads, uint8 `[SIDE, 2 * SIDE, 3]` RGB, with noise drawn from `rng`."""
    colours = np.concatenate([_lit(_pressed_mm(world, pad)) for pad in PADS], axis=1)
    noisy = colours + rng.normal(0, NOISE, colours.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def untouched() -> NDArray[np.uint8]:
    """The image without contact and without noise."""
    still = _lit(np.zeros((SIDE, SIDE)))
    return np.asarray(np.concatenate([still, still], axis=1), np.uint8)


def _pressed_mm(world: PadWorld, pad: str) -> Plane:
    """Depth to which the gel is pressed, mm `[SIDE, SIDE]`; blurred along the motion of a slip."""
    others = [other for name, other in world.pad_contacts() if name == pad]
    if not others:
        return np.zeros((SIDE, SIDE))
    coarse = np.maximum(_ray_depth_m(world, pad, others), _point_depth_m(world, pad))
    depth = cv2.resize(coarse * 1e3, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    depth = np.clip(cv2.GaussianBlur(depth, (0, 0), 1.5), 0, MAX_DEPTH_MM)
    thing = next(
        (t for t in world.scene.things if any(_is_part(name, t) for name in others)), None
    )
    grain = np.random.default_rng(zlib.crc32((thing.noun if thing else '').encode()))
    texture = cv2.GaussianBlur(grain.normal(0, 1, (SIDE, SIDE)), (0, 0), 1.0) * 2
    shift = np.zeros(2)
    if thing is not None:
        place = world.scene.data.xpos[thing.body] - world.grip
        across, along = (_in_plane(world, place) * PIXELS_PER_M).round().astype(int)
        texture = np.roll(texture, (along, across), axis=(0, 1))
        shift = _in_plane(world, world.relative_velocity(thing)) * EXPOSURE_S * PIXELS_PER_M
    rough = depth + TEXTURE_MM * texture * np.clip(depth / 0.2, 0, 1)
    return np.asarray(cv2.filter2D(rough, -1, _streak(shift)), np.float64)


def _in_plane(world: PadWorld, vector: Vector) -> Vector:
    """Components of a world vector in the plane of the pads: across and along the finger."""
    axes = world.scene.data.geom_xmat[world.scene.model.geom(PADS[0]).id].reshape(3, 3)
    return np.array([axes[:, 0] @ vector, axes[:, 2] @ vector])


def _ray_depth_m(world: PadWorld, pad: str, others: Sequence[str]) -> Plane:
    """Depth in metres, by rays from behind the pad through the shapes that touch it."""
    model, data = world.scene.model, world.scene.data
    index = model.geom(pad).id
    axes = data.geom_xmat[index].reshape(3, 3)
    inward = world.grip - data.geom_xpos[index]
    normal = axes[:, 1] * np.sign(axes[:, 1] @ inward)
    front = data.geom_xpos[index] + normal * model.geom_size[index][1]
    steps = (np.arange(RAYS) + 0.5) / RAYS * PAD_M - PAD_M / 2
    depth = np.zeros((RAYS, RAYS))
    for geom in {model.geom(name).id for name in others}:
        for row, along in enumerate(steps):
            for column, across in enumerate(steps):
                start = front - GEL_M * normal + across * axes[:, 0] + along * axes[:, 2]
                reach = _ray(model, data, geom, start, normal)
                if 0 <= reach < GEL_M:
                    depth[row, column] = max(depth[row, column], GEL_M - reach)
    return depth


def _ray(
    model: mujoco.MjModel, data: mujoco.MjData, geom: int, start: Vector, direction: Vector
) -> float:
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        return float(mujoco.mj_rayMesh(model, data, geom, start, direction))
    return float(
        mujoco.mju_rayGeom(
            data.geom_xpos[geom],
            data.geom_xmat[geom],
            model.geom_size[geom],
            start,
            direction,
            int(model.geom_type[geom]),
        )
    )


def _point_depth_m(world: PadWorld, pad: str) -> Plane:
    """Dents around all contact points, metres; the gel also yields where shapes barely touch."""
    model, data = world.scene.model, world.scene.data
    index = model.geom(pad).id
    axes = data.geom_xmat[index].reshape(3, 3)
    steps = (np.arange(RAYS) + 0.5) / RAYS * PAD_M - PAD_M / 2
    across, along = np.meshgrid(steps, steps)
    depth = np.zeros((RAYS, RAYS))
    for contact in data.contact[: data.ncon]:
        if index not in (contact.geom1, contact.geom2):
            continue
        point = np.array(contact.pos) - data.geom_xpos[index]
        squared = (across - axes[:, 0] @ point) ** 2 + (along - axes[:, 2] @ point) ** 2
        deep_m = np.clip(-contact.dist, 2e-4, 1e-3)
        depth = np.maximum(depth, deep_m * np.exp(-squared / (2 * 0.0015**2)))
    return depth


def _lit(depth_mm: Plane) -> Plane:
    """Colours 0..255, float `[SIDE, SIDE, 3]`, of a gel pressed to the given depth."""
    down, right = np.gradient(depth_mm * PIXELS_PER_M / 1e3)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lamps = [
        LIGHT
        + 25 * (np.cos(a) * x + np.sin(a) * y)
        + SHADE * (np.cos(a) * right + np.sin(a) * down)
        for a in LAMPS
    ]
    return np.asarray(np.clip(np.stack(lamps, axis=-1) - 8 * depth_mm[..., None], 0, 255))


def _streak(shift: Vector) -> Plane:
    """Blur kernel of a motion by `shift` pixels during the exposure."""
    reach = int(np.ceil(np.abs(shift).max() / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for share in np.linspace(-0.5, 0.5, 4 * reach + 1):
        column, row = np.round(shift * share).astype(int) + reach
        kernel[row, column] += 1
    slid: NDArray[np.float64] = kernel / kernel.sum()
    return slid


def _is_part(geom: str, thing: Thing) -> bool:
    return geom.startswith(f'{thing.name}_')
