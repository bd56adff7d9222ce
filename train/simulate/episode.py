"""Recording of episodes, each with one seeded world, one camera and one bag."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.simulate.bag import EpisodeBag
from train.simulate.camera import Camera
from train.simulate.contact.tasks import ContactTask
from train.simulate.metaworld.tasks import ExpertTask
from train.simulate.scene import Scene, SceneTask
from train.simulate.shots import SHOT_S, background_sounds, shots
from train.simulate.sound import synthesise
from train.simulate.tasks import routine
from train.simulate.touch import feel, touch_truth
from train.simulate.truth import evaluate
from train.simulate.world import World

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """Configuration of one episode.

    Attributes:
        task: The scene.
        seed: Seed of all randomness in the episode.
        profile: `live` (continuous motion) or `train` (independent samples, see `shots`).
        duration_s: Length of the log.
        frame_every_s: Time between camera frames of a live log.
        randomise: Jitter camera and lights.
        path: Folder of the new bag.
        touch: Also record tactile images of the finger pads.
        pictures: Record images; only contact suites can do without.
    """

    task: SceneTask | ExpertTask | ContactTask
    seed: int
    profile: str
    duration_s: float
    frame_every_s: float
    randomise: bool
    path: Path
    touch: bool = False
    pictures: bool = True

    @property
    def world_seed(self) -> int:
        """Seed of the world, 0..2**32; scenes with equal `seed` have different world seeds."""
        return zlib.crc32(f'{self.task.suite}/{self.task.scene}/{self.seed}'.encode())


class Studio:
    """A built scene with its camera, for recording of many episodes."""

    def __init__(self, task: SceneTask) -> None:
        self.scene = Scene(task)
        self._camera = Camera(self.scene)

    def close(self) -> None:
        """Free the rendering context."""
        self._camera.close()

    def record(self, plan: EpisodePlan) -> int:
        """Record one episode and write its bag.

        Returns:
            Number of camera frames.
        """
        seed = plan.world_seed
        rng = np.random.default_rng(seed)
        self.scene.reset(seed=seed % 2**31)
        if plan.randomise:
            self._camera.jitter(rng)
        world = World(self.scene, rng)
        world.touch_rng = np.random.default_rng([seed, 3]) if plan.touch else None
        bag = EpisodeBag(plan.path, marks(plan))
        bag.task(plan.task.language)
        if plan.profile == 'train':
            count = self._record_shots(plan, world, bag)
        else:
            count = self._record_live(plan, world, bag)
        bag.write()
        return count

    def _record_shots(self, plan: EpisodePlan, world: World, bag: EpisodeBag) -> int:
        count = max(1, round(plan.duration_s / SHOT_S))
        for index, _ in enumerate(shots(world, count)):
            start_s = index * SHOT_S
            self._capture(world, bag)
            wave = synthesise(
                world.sounds, start_s=start_s, duration_s=SHOT_S, seed=plan.seed * 10_000 + index
            )
            bag.sound(start_s, wave)
        return count

    def _record_live(self, plan: EpisodePlan, world: World, bag: EpisodeBag) -> int:
        frames, next_s, sounded_s = 0, 0.0, 0.0
        for _ in routine(world, tick_s=TICK_S):
            if world.now_s >= sounded_s:
                background_sounds(world, sounded_s, 1.0)
                sounded_s += 1.0
            if world.now_s + 1e-6 >= next_s:
                self._capture(world, bag)
                frames += 1
                next_s += plan.frame_every_s
            if world.now_s >= plan.duration_s:
                break
        wave = synthesise(world.sounds, start_s=0.0, duration_s=world.now_s, seed=plan.seed)
        bag.sound(0.0, wave)
        return frames

    def _capture(self, world: World, bag: EpisodeBag) -> None:
        frame = self._camera.look(world, world.rng)
        bag.frame(world.now_s, frame, focal_px=self._camera.focal_px)
        truth = evaluate(world)
        if world.touch_rng is not None:
            bag.touch(world.now_s, feel(world, world.touch_rng))
            truth |= touch_truth(world)
        bag.truth(world.now_s, truth)
        bag.regions(world.now_s, frame.regions, self._camera.region_names)


def marks(plan: EpisodePlan) -> dict[str, str]:
    """Origin of a bag, stored in it."""
    return {
        'suite': plan.task.suite,
        'split': plan.task.split,
        'scene': plan.task.scene,
        'seed': str(plan.seed),
        'profile': plan.profile,
        'sensors': json.dumps(
            {'camera': 'rendered', 'infrared': 'synthetic', 'audio': 'synthetic'}
            | ({'touch': 'synthetic'} if plan.touch else {})
        ),
    }
