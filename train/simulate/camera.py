"""RGB, depth and synthetic infrared images from one viewpoint, in two rendering passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from train.simulate.regions import ROBOT_PARTS, name_geoms
from train.simulate.scene import CAMERA, Vector
from train.simulate.stage import StageScene, StageWorld
from train.simulate.world import AMBIENT_K

SIZE = 256
INFRARED_SIZE = 160
REGION_SIZE = 64
COUNTS_PER_K = 100.0
NOISE_K = 0.08
PLATE_RADIUS_M = 0.075
COIL_RADII_M = (0.022, 0.046, 0.068)
COIL_WIDTH_M = 0.006
WARM_PARTS_K = {'robot0_link': 7.0, 'gripper0': 4.0}


@dataclass(frozen=True, slots=True)
class Frame:
    """`rgb` uint8 [H,W,3], `depth_mm` uint16 [H,W], `infrared` uint16 centikelvin [h,w].

    `regions` uint8 [r,r] holds the named part of the scene that each cell shows: 0 for none,
    otherwise 1 + its index in `Camera.region_names`. `infrared` is None without such a camera.
    """

    rgb: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    infrared: NDArray[np.uint16] | None
    regions: NDArray[np.uint8]


class Camera:
    """The camera of a scene; `region_names` are the parts distinguished in its frames.

    Call `close()` when done: the rendering context belongs to this process.

    Attributes:
        warm_parts_k: Temperature of motors above ambient, kelvin, by prefix of the body's name.
        robot_parts: Names of the robot's parts, by prefix of the body's name.
        has_infrared: Whether infrared images are painted.
    """

    has_infrared: bool = True
    warm_parts_k: Mapping[str, float] = WARM_PARTS_K
    robot_parts: Mapping[str, str] = ROBOT_PARTS

    def __init__(self, scene: StageScene, name: str = CAMERA) -> None:
        self._model = scene.model
        self._gl = mujoco.GLContext(SIZE, SIZE)
        self._gl.make_current()
        # No anti-aliasing: it would mix the colours that encode segments.
        scene.model.vis.quality.offsamples = 0
        self._context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._view = mujoco.MjvScene(scene.model, maxgeom=2000)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[0] = 0  # collision shapes
        self._option.sitegroup[:] = 0
        self._view.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._view.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._rect = mujoco.MjrRect(0, 0, SIZE, SIZE)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = scene.model.camera(name).id
        self._home = (
            scene.model.cam_pos[self._camera.fixedcamid].copy(),
            scene.model.cam_quat[self._camera.fixedcamid].copy(),
            scene.model.cam_fovy[self._camera.fixedcamid].copy(),
        )
        self.region_names, self._region_of_geom = name_geoms(scene, self.robot_parts)

    def close(self) -> None:
        """Free the rendering context."""
        self._gl.free()

    def jitter(self, rng: np.random.Generator) -> None:
        """Vary camera pose, angle of view and lights a little, as between set-ups."""
        index, model = self._camera.fixedcamid, self._model
        model.cam_pos[index] = self._home[0] + rng.normal(0.0, 0.02, 3)
        turn = np.array([1.0, *rng.normal(0.0, 0.01, 3)])
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, self._home[1], turn / np.linalg.norm(turn))
        model.cam_quat[index] = quaternion
        model.cam_fovy[index] = self._home[2] * rng.uniform(0.88, 1.02)
        model.light_diffuse[:] = np.clip(0.6 * rng.uniform(0.6, 1.3, (1, 3)), 0, 1)

    @property
    def focal_px(self) -> float:
        """Focal length, pixels (square pixels, principal point in the middle)."""
        fovy = np.deg2rad(self._model.cam_fovy[self._camera.fixedcamid])
        return float(SIZE / 2 / np.tan(fovy / 2))

    def look(self, world: StageWorld, rng: np.random.Generator) -> Frame:
        """Render the current state of the world, with sensor noise drawn from `rng`."""
        self._gl.make_current()
        rgb, depth_m = self._render(world, segmented=False)
        segments, _ = self._render(world, segmented=True)
        geoms = _geom_ids(segments, self._view)
        infrared = self._infrared(world, geoms, depth_m, rng) if self.has_infrared else None
        noisy = np.clip(rgb + rng.normal(0, 2.0, rgb.shape), 0, 255).astype(np.uint8)
        step = SIZE // REGION_SIZE
        regions = self._region_of_geom[geoms[step // 2 :: step, step // 2 :: step]]
        return Frame(noisy, _measured_depth(depth_m, rng), infrared, regions)

    def _render(
        self, world: StageWorld, *, segmented: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        flags = self._view.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = int(segmented)
        flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = int(segmented)
        mujoco.mjv_updateScene(
            self._model,
            world.scene.data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._view,
        )
        mujoco.mjr_render(self._rect, self._view, self._context)
        colour = np.empty((SIZE, SIZE, 3), np.uint8)
        buffer = np.empty((SIZE, SIZE), np.float32)
        mujoco.mjr_readPixels(colour, buffer, self._rect, self._context)
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        depth_m = near / (1.0 - np.flipud(buffer).astype(np.float64) * (1.0 - near / far))
        return np.ascontiguousarray(np.flipud(colour)), depth_m

    def _infrared(
        self,
        world: StageWorld,
        geoms: NDArray[np.int64],
        depth_m: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.uint16]:
        kelvin = self.surface_k(world)[geoms]
        stove = _stove_body(world)
        if stove is not None:
            owner = self._model.geom_bodyid[np.maximum(geoms, 0)]
            is_stove = np.isin(owner, subtree(self._model, stove)) & (geoms >= 0)
            radius_m = self._distance_to(_burner(world, stove), depth_m)
            kelvin = np.where(is_stove, np.maximum(kelvin, _burner_k(world, radius_m)), kelvin)
        kelvin = cv2.resize(
            cv2.GaussianBlur(kelvin, (0, 0), 0.8),
            (INFRARED_SIZE, INFRARED_SIZE),
            interpolation=cv2.INTER_AREA,
        )
        kelvin = kelvin + rng.normal(0, NOISE_K, kelvin.shape) + rng.normal(0, 0.5)
        return np.asarray(np.clip(kelvin * COUNTS_PER_K, 0, 65535), np.uint16)

    def surface_k(self, world: StageWorld) -> NDArray[np.float64]:
        """Temperature of every geom, kelvin; the last entry is the background (index -1).

        Furniture is at ambient temperature; every body has a fixed offset of about 1 K, as from
        different emissivity, and the motors of the robot are warm.
        """
        model = self._model
        bodies = np.arange(model.nbody)
        kelvin = AMBIENT_K + 1.2 * np.sin(bodies * 12.9898)
        for body in bodies:
            name = model.body(body).name
            warm = (k for part, k in self.warm_parts_k.items() if name.startswith(part))
            kelvin[body] += next(warm, 0.0)
        return np.append(kelvin[model.geom_bodyid], AMBIENT_K - 1.5)

    def _distance_to(self, point: Vector, depth_m: NDArray[np.float64]) -> NDArray[np.float64]:
        index = self._camera.fixedcamid
        axis = np.zeros(9)
        mujoco.mju_quat2Mat(axis, self._model.cam_quat[index])
        pixel = (np.arange(SIZE) + 0.5 - SIZE / 2) / self.focal_px
        x, y = np.meshgrid(pixel, -pixel)
        points = np.stack([x * depth_m, y * depth_m, -depth_m], -1) @ axis.reshape(3, 3).T
        across = points + self._model.cam_pos[index] - point
        return np.asarray(np.linalg.norm(across[..., :2], axis=-1))


def _geom_ids(segments: NDArray[np.uint8], view: mujoco.MjvScene) -> NDArray[np.int64]:
    code = segments.astype(np.int64) @ np.array([1, 256, 65536])
    table = np.full(view.ngeom + 1, -1, np.int64)
    for geom in view.geoms[: view.ngeom]:
        if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
            table[geom.segid + 1] = geom.objid
    return np.asarray(table[np.minimum(code, view.ngeom)])


def _measured_depth(depth_m: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth as from a stereo camera: noise grows with squared distance, edges have dropouts."""
    noisy = depth_m + rng.normal(0, 0.0015, depth_m.shape) * depth_m**2
    edge = np.abs(cv2.Laplacian(depth_m, cv2.CV_64F)) > 0.05
    lost = (edge & (rng.random(depth_m.shape) < 0.4)) | (rng.random(depth_m.shape) < 0.002)
    return np.where(lost | (noisy > 6.0), 0, np.round(noisy * 1000)).astype(np.uint16)


def _stove_body(world: StageWorld) -> int | None:
    knob = next((j for j in world.scene.joints.values() if j.kind == 'knob'), None)
    return None if knob is None else int(world.scene.env.obj_body_id[knob.state_name])


def _burner(world: StageWorld, stove: int) -> Vector:
    site = next((p.state_name for p in world.scene.places if p.noun == 'stove'), None)
    if site is not None:
        return np.array(world.scene.env.sim.data.get_site_xpos(site))
    return np.array(world.scene.data.xpos[stove])


def subtree(model: mujoco.MjModel, root: int) -> list[int]:
    """Indices of a body and everything attached to it."""
    found = {root}
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in found:
            found.add(body)
    return sorted(found)


def _burner_k(world: StageWorld, radius_m: NDArray[np.float64]) -> NDArray[np.float64]:
    disc = 1.0 / (1.0 + np.exp((radius_m - PLATE_RADIUS_M) / 0.008))
    rings = sum(np.exp(-(((radius_m - r) / COIL_WIDTH_M) ** 2)) for r in COIL_RADII_M)
    plate = AMBIENT_K + (world.heat.plate_k - AMBIENT_K) * disc
    excess_k = max(world.heat.coil_k - world.heat.plate_k, 0.0)
    return np.asarray(plate + excess_k * np.minimum(rings, 1.0))
