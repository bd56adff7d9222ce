"""Motion in a scene: the position-controlled arm, carried things and moving joints.

The robot, a carried thing and a moving drawer follow their paths exactly; everything else is
simulated by physics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np

from train.simulate.scene import ARM_HOME, ARM_JOINTS, Joint, Scene, Thing, Vector

FINGERS = ('gripper0_finger_joint1', 'gripper0_finger_joint2')
PADS = ('gripper0_finger1_pad_collision', 'gripper0_finger2_pad_collision')
GRIP_SITE = 'gripper0_grip_site'
FINGER_REACH_M = 0.04
CLOSING_M = 0.001
SQUEEZE_M = 0.0007
IMPACT_M_S = 0.35
IMPACT_GAP_S = 0.03
DROP_M_S = 1.0  # reached by falling 5 cm
AMBIENT_K = 295.0
PLATE_ON_K = 425.0
COIL_ON_K = 480.0


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A sound: `kind` is a voice of `sound`, `strength` is in 0..1, times are in episode time."""

    kind: str
    at_s: float
    strength: float
    duration_s: float = 0.0
    source: str = ''


@dataclass(slots=True)
class Heat:
    """Temperatures of a stove, kelvin; the coil follows the switch quickly, the plate slowly."""

    plate_k: float = AMBIENT_K
    coil_k: float = AMBIENT_K

    def step(self, is_on: bool, seconds: float) -> None:
        """Advance first-order heating or cooling."""
        plate_goal, plate_s = (PLATE_ON_K, 9.0) if is_on else (AMBIENT_K, 18.0)
        coil_goal, coil_s = (COIL_ON_K, 1.0) if is_on else (self.plate_k, 1.0)
        self.plate_k += (plate_goal - self.plate_k) * (1 - np.exp(-seconds / plate_s))
        self.coil_k += (coil_goal - self.coil_k) * (1 - np.exp(-seconds / coil_s))


@dataclass
class Held:
    """A carried thing: its pose relative to the grip, and its slip velocity, metres/second."""

    thing: Thing
    offset: Vector
    quaternion: Vector
    slip_m_s: Vector = field(default_factory=lambda: np.zeros(3))


@dataclass
class World:
    """A scene in motion.

    Attributes:
        scene: The scene.
        rng: Source of all randomness of the episode.
        now_s: Episode time.
        held: The carried thing, or None.
        sounds: All sounds so far.
        events: `(predicate, time)` of all events so far: drops and shuts.
        heat: Stove temperatures.
        touch_rng: Source of randomness of touch; if None, fingers close by size and nothing slips.
    """

    scene: Scene
    rng: np.random.Generator
    now_s: float = 0.0
    held: Held | None = None
    sounds: list[SoundEvent] = field(default_factory=list)
    events: list[tuple[str, float]] = field(default_factory=list)
    heat: Heat = field(default_factory=Heat)
    arm_speed: float = 0.0
    touch_rng: np.random.Generator | None = None
    _relative: dict[str, Vector] = field(init=False, default_factory=dict)
    _velocity_to_grip: dict[str, Vector] = field(init=False, default_factory=dict)
    _arm: Vector = field(init=False)
    _fingers_m: float = field(init=False, default=FINGER_REACH_M)
    _falling: dict[str, float] = field(init=False, default_factory=dict)
    _landed: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        model = self.scene.model
        self._arm_qpos = np.array([int(model.joint(name).qposadr[0]) for name in ARM_JOINTS])
        self._arm_dof = np.array([int(model.joint(name).dofadr[0]) for name in ARM_JOINTS])
        self._finger_qpos = [int(model.joint(name).qposadr[0]) for name in FINGERS]
        self._site = int(model.site(GRIP_SITE).id)
        self._arm = np.array(ARM_HOME)
        self.set_arm(self._arm)
        self._down = self.scene.data.site_xmat[self._site].reshape(3, 3).copy()

    @property
    def grip(self) -> Vector:
        """Position of the grip point, metres, world frame."""
        return np.array(self.scene.data.site_xpos[self._site])

    def solve_arm(self, position: Vector, *, yaw: float = 0.0) -> Vector:
        """Joint angles with the grip at a position, pointing down (damped least squares)."""
        model, data = self.scene.model, self.scene.data
        goal = _turn(yaw) @ self._down
        before = data.qpos.copy()
        data.qpos[self._arm_qpos] = ARM_HOME  # a fixed start, so that equal goals give equal poses
        jacobian_p, jacobian_r = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        limits = np.array([model.joint(name).range for name in ARM_JOINTS])
        for _ in range(60):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            current = data.site_xmat[self._site].reshape(3, 3)
            turn = _rotation_between(current, goal)
            error = np.concatenate([position - data.site_xpos[self._site], 0.3 * turn])
            if np.abs(error).max() < 3e-3:
                break
            mujoco.mj_jacSite(model, data, jacobian_p, jacobian_r, self._site)
            jacobian = np.vstack([jacobian_p, 0.3 * jacobian_r])[:, self._arm_dof]
            square = jacobian @ jacobian.T + 1e-4 * np.eye(6)
            step = jacobian.T @ np.linalg.solve(square, error)
            angles = data.qpos[self._arm_qpos] + np.clip(step, -0.3, 0.3)
            data.qpos[self._arm_qpos] = np.clip(angles, limits[:, 0], limits[:, 1])
        found: Vector = data.qpos[self._arm_qpos].copy()
        data.qpos[:] = before
        mujoco.mj_forward(model, data)
        return found

    def set_arm(self, angles: Vector) -> None:
        """Set the joint angles of the arm instantly; a carried thing moves along."""
        self._arm = angles.copy()
        self._apply()
        mujoco.mj_forward(self.scene.model, self.scene.data)
        self._carry()
        mujoco.mj_forward(self.scene.model, self.scene.data)

    @property
    def arm(self) -> Vector:
        """Joint angles, radians."""
        return self._arm

    def set_fingers(self, opening_m: float) -> None:
        """Set the distance of each finger from the middle, 0..0.04 m."""
        self._fingers_m = float(np.clip(opening_m, 0.0, FINGER_REACH_M))

    def grasp(self, thing: Thing) -> None:
        """Carry a thing, at its current pose relative to the grip."""
        data = self.scene.data
        pose = data.qpos[thing.qpos : thing.qpos + 7]
        self.held = Held(thing, pose[:3] - self.grip, pose[3:].copy())
        self._close_on(thing)

    def attach(self, thing: Thing) -> None:
        """Put a thing into the gripper as if it had been grasped from above."""
        wide = max(0.0, thing.radius_m - 0.03)
        direction = self.rng.uniform(-1.7, 1.7)  # towards the camera, so the hand does not hide it
        sideways = wide * np.array([np.cos(direction), np.sin(direction)])
        down = -thing.top_m + self.rng.uniform(-0.005, 0.012)
        yaw = _yaw_quaternion(self.rng.uniform(-np.pi, np.pi))
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, yaw, np.array(thing.quaternion))
        self.held = Held(thing, np.array([*sideways, down]), quaternion)
        self._close_on(thing)
        self._carry()
        mujoco.mj_forward(self.scene.model, self.scene.data)

    def _close_on(self, thing: Thing) -> None:
        self.set_fingers(min(thing.radius_m, 0.02))
        if self.touch_rng is None:
            return
        # Like a real gripper, close until the pads touch the thing, and squeeze a little.
        for opening_m in np.arange(FINGER_REACH_M, -CLOSING_M, -CLOSING_M):
            self.set_fingers(opening_m)
            self.set_arm(self._arm)
            if self.pad_contacts():
                break
        self.set_fingers(self._fingers_m - SQUEEZE_M)

    def release(self) -> None:
        """Open the fingers; a carried thing falls."""
        if self.held is not None:
            self._falling[self.held.thing.name] = self.now_s
            self._landed.discard(self.held.thing.name)
        self.held = None
        self.set_fingers(FINGER_REACH_M)

    def place(self, thing: Thing, position: Vector, *, yaw: float = 0.0) -> None:
        """Put a thing at a position instantly, upright, at rest, with its lowest point there."""
        data = self.scene.data
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(quaternion, _yaw_quaternion(yaw), np.array(thing.quaternion))
        data.qpos[thing.qpos : thing.qpos + 3] = position - np.array([0, 0, thing.bottom_m])
        data.qpos[thing.qpos + 3 : thing.qpos + 7] = quaternion
        data.qvel[thing.dof : thing.dof + 6] = 0

    def set_joint(self, joint: Joint, fraction: float) -> None:
        """Set a joint instantly: 0 closed or off, 1 fully open or on."""
        data = self.scene.data
        data.qpos[joint.qpos] = joint.closed + fraction * (joint.opened - joint.closed)
        data.qvel[joint.dof] = 0

    def stove_is_on(self) -> bool:
        """Whether any stove of the scene is switched on, by LIBERO's own predicate."""
        knobs = [j for j in self.scene.joints.values() if j.kind == 'knob']
        states = self.scene.env.object_states_dict
        return any(bool(states[j.state_name].turn_on()) for j in knobs)

    def step(
        self,
        seconds: float,
        *,
        arm: Vector | None = None,
        slide: tuple[Joint, float] | None = None,
    ) -> None:
        """Advance time by `seconds`; the arm and one joint move smoothly to their goals."""
        model, data = self.scene.model, self.scene.data
        count = max(1, round(seconds / model.opt.timestep))
        arm_from, arm_to = self._arm.copy(), self._arm if arm is None else arm
        self.arm_speed = float(np.abs(arm_to - arm_from).max() / seconds)
        joints = [(j, float(data.qpos[j.qpos])) for j in self.scene.joints.values()]
        for index in range(count):
            share = (index + 1) / count
            self._arm = arm_from + share * (arm_to - arm_from)
            for joint, start in joints:
                goal = start
                if slide is not None and slide[0].noun == joint.noun:
                    opened = joint.closed + slide[1] * (joint.opened - joint.closed)
                    goal = start + share * (opened - start)
                    data.qvel[joint.dof] = (opened - start) / seconds
                else:
                    data.qvel[joint.dof] = 0
                data.qpos[joint.qpos] = goal
            self._apply()
            self._slip(model.opt.timestep)
            self._carry()
            speeds = {n: self._velocity(n) for n in self._falling}
            mujoco.mj_step(model, data)
            self.now_s += model.opt.timestep
            self._hear_impacts(speeds)
        self._apply()
        self._carry()
        mujoco.mj_forward(model, data)
        self.heat.step(self.stove_is_on(), seconds)

    def settle(self, seconds: float) -> None:
        """Let physics come to rest without advancing episode time."""
        now_s, sounds, events = self.now_s, list(self.sounds), list(self.events)
        heat = Heat(self.heat.plate_k, self.heat.coil_k)
        self.step(seconds)
        self.now_s, self.sounds, self.events, self.heat = now_s, sounds, events, heat
        self.scene.data.qvel[:] = 0

    def clear_falling(self) -> None:
        """Stop tracking released things, so that their last bounces make no sound."""
        self._falling.clear()

    def robot_touches(self) -> bool:
        """Whether a robot part touches anything."""
        return any('robot0' in a or 'gripper0' in a for a, b in self._contacts())

    def finger_touches(self, thing: Thing) -> bool:
        """Whether a finger touches a thing."""
        return any(
            'gripper0_finger' in a and b.startswith(thing.name) for a, b in self._contacts()
        )

    def pad_contacts(self) -> list[tuple[str, str]]:
        """Pairs of finger pad and touched shape."""
        return [pair for pair in self._contacts() if pair[0] in PADS]

    def relative_velocity(self, thing: Thing) -> Vector:
        """Velocity of a thing relative to the grip in the last physics step, metres/second."""
        return self._velocity_to_grip.get(thing.name, np.zeros(3))

    def _slip(self, seconds: float) -> None:
        if self.touch_rng is None:
            return
        if self.held is not None:
            self.held.offset = self.held.offset + seconds * self.held.slip_m_s
        self._carry()
        places = {
            t.name: self.scene.data.qpos[t.qpos : t.qpos + 3] - self.grip
            for t in self.scene.things
        }
        self._velocity_to_grip = {
            name: (place - self._relative.get(name, place)) / seconds
            for name, place in places.items()
        }
        self._relative = places

    def _contacts(self) -> list[tuple[str, str]]:
        model, data = self.scene.model, self.scene.data
        pairs = []
        for contact in data.contact[: data.ncon]:
            one, two = model.geom(contact.geom1).name, model.geom(contact.geom2).name
            is_robot = [n.startswith(('robot0', 'gripper0')) for n in (one, two)]
            if is_robot[0] != is_robot[1]:
                pairs.append((one, two) if is_robot[0] else (two, one))
        return pairs

    def _apply(self) -> None:
        data = self.scene.data
        data.qpos[self._arm_qpos] = self._arm
        data.qvel[self._arm_dof] = 0
        data.qpos[self._finger_qpos[0]] = self._fingers_m
        data.qpos[self._finger_qpos[1]] = -self._fingers_m

    def _carry(self) -> None:
        if self.held is None:
            return
        data, thing = self.scene.data, self.held.thing
        data.qpos[thing.qpos : thing.qpos + 3] = self.grip + self.held.offset
        data.qpos[thing.qpos + 3 : thing.qpos + 7] = self.held.quaternion
        data.qvel[thing.dof : thing.dof + 6] = 0

    def _velocity(self, name: str) -> Vector:
        thing = next(t for t in self.scene.things if t.name == name)
        return np.array(self.scene.data.qvel[thing.dof : thing.dof + 3])

    def _hear_impacts(self, speeds: dict[str, Vector]) -> None:
        gravity = np.array(self.scene.model.opt.gravity) * self.scene.model.opt.timestep
        for name, before in speeds.items():
            change = float(np.linalg.norm(self._velocity(name) - before - gravity))
            # Soft contacts spread a landing over steps, so a drop is detected by the speed before.
            if change > IMPACT_M_S and before[2] < -DROP_M_S and name not in self._landed:
                self._landed.add(name)
                self.events.append(('dropped(something)', self.now_s))
            last = max((s.at_s for s in self.sounds if s.source == name), default=-1.0)
            if change < IMPACT_M_S or self.now_s - last < IMPACT_GAP_S:
                continue
            self.sounds.append(
                SoundEvent('impact', self.now_s, min(1.0, change / 2.5), source=name)
            )


def _rotation_between(current: Vector, goal: Vector) -> Vector:
    """Rotation vector, radians, from one orientation to another."""
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, (goal @ current.T).ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


def _turn(yaw: float) -> Vector:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _yaw_quaternion(yaw: float) -> Vector:
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
