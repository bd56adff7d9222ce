"""Trainings of `benchmarks.open_questions`: one sensor is bound from pairs.

Every sensor starts from the image encoder of `lb-mini`, as LanguageBind's sensors start from that
of OpenCLIP: position embeddings are interpolated to its patches, and its own encoder in `lb-mini`
is not used. Tuning `probe` trains the projection on class tokens that are computed once; `full`
trains the attention as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.ablations import ALL, limited_phrasings
from encoders.model_sets.files import write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import Config, from_stored
from encoders.shipped import shipped
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from train.bags.samples import stored_tensor
from train.evaluation.evaluate import embed_stored
from train.pairs.data import PairData, open_pair_data
from train.pairs.record import Pair, decode
from train.pairs.shards import PairSet, open_pair_set
from train.training.batch import PairBatch
from train.training.cached import backpropagate
from train.training.contrast import Contrast, contrast_run, open_trained
from train.training.contrast_recipe import ContrastRecipe, load_contrast_recipe
from train.training.loop import Run, training_step
from train.training.ranks import Ranks
from train.training.tower import Tower

SENSORS = ('depth', 'infrared', 'audio')
IMAGE = 'image'
PART = 64  # inputs in memory at a time
SIZE = 128  # of depth and infrared, pixels
RECIPE = shipped('config/recipes/probe.yaml')
TEXTS = ('predicate',)  # task texts are the same for all samples of a bag
ONE_PROCESS = Ranks(0, 1, torch.device('cpu'))


@dataclass(frozen=True, slots=True)
class Arm:
    """One configuration that is trained with every seed.

    Attributes:
        sensor: What is bound.
        hub: To what: `language` or `image`.
        pairs: Folder of pairs: `all` wordings, `one` wording per fact, or depth that is
            `generated` or `mixed`.
        tuning: `probe` or `full`.
    """

    sensor: str
    hub: str = 'language'
    pairs: str = 'all'
    tuning: str = 'probe'

    @property
    def key(self) -> str:
        """Name of its files."""
        return '_'.join(str(value) for value in asdict(self).values())


def write_start(folder: Path) -> None:
    """Write the model set that all trainings start from, see the module."""
    if folder.is_dir():
        return
    found = load_encoders(find_set('lb-mini'), modalities=(IMAGE, *SENSORS))
    towers = found.encoders
    image = towers[IMAGE]
    assert isinstance(image, TowerEncoder)
    specs = {IMAGE: ModalitySpec(image.tower.config, image.config)}
    vision = {IMAGE: image.tower.state_dict()}
    for name in SENSORS:
        encoder = towers[name]
        assert isinstance(encoder, TowerEncoder)
        config: Any = encoder.config
        size = encoder.tower.config.image_size
        if name != 'audio':
            config, size = replace(config, size=SIZE), (SIZE, SIZE)
        shape = replace(image.tower.config, image_size=size)
        specs[name] = ModalitySpec(shape, config)
        vision[name] = resized(image.tower.state_dict(), image.tower.config, shape)
    manifest = Manifest('start', found.text.space, 'minilm-l6-v2', specs)
    write_set(folder, manifest, vision)


def resized(
    tensors: Mapping[str, Tensor], before: VisionConfig, after: VisionConfig
) -> dict[str, Tensor]:
    """The tensors of a tower, with positions interpolated to another grid of patches."""
    name = 'embeddings.position_embedding.weight'
    first, rest = tensors[name][:1], tensors[name][1:]
    planes = rest.T.reshape(1, -1, *before.grid)
    moved = torch.nn.functional.interpolate(planes, after.grid, mode='bicubic')
    return {**tensors, name: torch.cat([first, moved.flatten(2)[0].T])}


def sensor_configs(start: Path) -> dict[str, Config]:
    """Preprocessing of all encoders of the start."""
    return {name: encoder.config for name, encoder in load_encoders(start).encoders.items()}


def write_pairs(bags: Sequence[Path], out: Path, *, wordings: int = ALL) -> float:
    """Cut pairs with at most so many wordings per fact; return the processor time, s."""
    if (out / 'seconds.json').is_file():
        return float(json.loads((out / 'seconds.json').read_text()))
    phrasings = out.with_suffix('.yaml')
    phrasings.parent.mkdir(parents=True, exist_ok=True)
    phrasings.write_text(yaml.safe_dump(limited_phrasings(wordings), sort_keys=False))
    command = [sys.executable, '-m', 'train.cli', 'train', 'pairs', '--overwrite']
    command += ['--modalities', IMAGE, *SENSORS, '--phrasings', str(phrasings)]
    before_s = _children_s()
    subprocess.run([*command, '--out', str(out), '--data', *map(str, bags)], check=True)
    used_s = _children_s() - before_s
    (out / 'seconds.json').write_text(json.dumps(used_s))
    return used_s


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def recipe_of(arm: Arm, work: Path, *, steps: int, batch: int, seed: int) -> ContrastRecipe:
    """The recipe of one training."""
    return load_contrast_recipe(
        RECIPE,
        name='bound',
        start=str(work / 'start'),
        modalities=(arm.sensor,),
        patch_dropout={arm.sensor: 0.0},
        temperature=0.07,
        hub=arm.hub,
        tuning=arm.tuning,
        max_steps=steps,
        batch=batch,
        micro_batch=batch,
        text_sources=TEXTS,
        seed=seed,
    )


class Pooling(nn.Module):
    """The end of a tower: class tokens `[B, 1, width]` of its last block to vectors `[B, D]`."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, tokens: Tensor, *, kept: Tensor | None = None) -> Tensor:
        """Pool as the tower does."""
        return self.tower.pool(tokens)


@torch.inference_mode()
def class_tokens(tower: VisionTower, inputs: Tensor) -> Tensor:
    """Class tokens of the last block, `[B, 1, width]`."""
    return tower.eval().tokens(inputs)[:, :1].clone()


@dataclass
class RememberedPairs:
    """Pairs whose sentences are read once for all runs."""

    source: PairSet
    outlines: dict[int, Pair] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Pair:
        """Read one pair."""
        return self.source.read(index)

    def outline(self, index: int) -> Pair:
        """One pair whose files may be empty."""
        if index not in self.outlines:
            self.outlines[index] = self.source.outline(index)
        return self.outlines[index]


@lru_cache
def remembered(folder: Path) -> RememberedPairs:
    """The pairs of a folder, the same for all runs of this process."""
    return RememberedPairs(open_pair_set(folder))


@dataclass
class HeldContrast(Contrast):
    """The recipe's objective on inputs that are decoded once for all runs, `[pairs, ...]`."""

    inputs: Tensor = field(default_factory=lambda: torch.zeros(0))

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """See `Contrast`."""
        recipe = self.recipe
        ((name, tower),) = self.towers.items()
        chosen = self.data.order(name, step, batch=recipe.batch, seed=recipe.seed, hub=recipe.hub)
        numbers = [int(number) for number in chosen]
        outlines = [self.data.source.outline(number) for number in numbers]
        bound = self.hub.bound(numbers, outlines, draw=f'{recipe.seed}:{step}')
        inputs = self.inputs[numbers].float()
        batch = PairBatch(inputs, None, bound.vectors, bound.labels, bound.true_labels)
        loss = backpropagate(tower, batch, micro_batch=recipe.micro_batch, ranks=ONE_PROCESS)
        return {name: loss}


def open_run(recipe: ContrastRecipe, pairs: Path, cache: Path) -> tuple[Run, PairData, Any]:
    """A training before its first step, its data and the function that writes its model set."""
    data = open_pair_data([pairs], recipe.cut, text_sources=recipe.text_sources)
    data.source = remembered(pairs)
    trained = open_trained(recipe)
    steps = recipe.max_steps or 1
    run = contrast_run(recipe, trained, data, steps=steps, ranks=ONE_PROCESS, cache=cache)
    return run, data, trained.save


def held_inputs(data: PairData, tower: Tower, path: Path, *, tuning: str) -> Tensor:
    """Inputs of all pairs, or for `probe` their class tokens, `[pairs, ...]`, kept in a file."""
    if not path.is_file():
        assert isinstance(tower.module, VisionTower)
        parts = []
        for start in range(0, len(data.source), PART):
            numbers = range(start, min(len(data.source), start + PART))
            pairs = [data.source.read(number) for number in numbers]
            part = torch.stack(
                [tower.preprocess(decode(tower.modality, pair.files)) for pair in pairs]
            )
            parts.append(class_tokens(tower.module, part) if tuning == 'probe' else part.half())
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.cat(parts), path)
    found: Tensor = torch.load(path, weights_only=True)
    return found


def train_arm(arm: Arm, work: Path, *, steps: int, batch: int, seed: int) -> Path:
    """Train one arm with one seed, unless that is done; return the folder of its model set."""
    out = work / 'models' / f'{arm.key}_{steps}_{batch}_{seed}'
    if (out / 'run.json').is_file():
        return out
    recipe = recipe_of(arm, work, steps=steps, batch=batch, seed=seed)
    run, data, save = open_run(recipe, work / f'pairs_{arm.pairs}', work / 'cache')
    plain = run.objective
    assert isinstance(plain, Contrast)
    tower = plain.towers[arm.sensor]
    own = 'all' if arm.pairs == 'one' else arm.pairs  # other sentences, the same inputs
    path = work / 'inputs' / f'{arm.sensor}_{own}_{arm.tuning}.pt'
    inputs = held_inputs(data, tower, path, tuning=arm.tuning)
    if arm.tuning == 'probe':
        assert isinstance(tower.module, VisionTower)
        tower = replace(tower, module=Pooling(tower.module))
    hub = plain.hub
    run.objective = HeldContrast(
        recipe, {arm.sensor: tower}, hub, data, steps, ONE_PROCESS, inputs=inputs
    )
    began_s = time.process_time()
    losses = [training_step(run)[arm.sensor] for _ in range(steps)]
    used_s = time.process_time() - began_s
    save(out, 'bound', {})
    learned = sum(parameter.numel() for _, parameter in run.objective.learning())
    ended = {
        'cpu_s': round(used_s, 1),
        'loss': round(float(np.mean(losses[-10:])), 4),
        'values': learned,
    }
    (out / 'run.json').write_text(json.dumps(ended))
    return out


def timed_steps(recipe: ContrastRecipe, pairs: Path, cache: Path, *, steps: int) -> dict[str, Any]:
    """Processor time of the parts of a training step, in ms per pair; the first step is left out.

    The calls are those of `draw_batch` and `training_step`, one kind after the other.
    """
    run, data, _ = open_run(recipe, pairs, cache)
    objective: Any = run.objective
    (tower,) = objective.towers.values()
    parts: dict[str, float] = {}
    marked_s = time.process_time()

    def mark(part: str) -> None:
        nonlocal marked_s
        now_s = time.process_time()
        parts[part] = parts.get(part, 0.0) + now_s - marked_s
        marked_s = now_s

    for step in range(steps + 1):
        if step == 1:
            parts.clear()
        marked_s = time.process_time()
        numbers = data.order(
            tower.modality, step, batch=recipe.batch, seed=recipe.seed, hub=recipe.hub
        )
        read = [data.source.read(int(number)) for number in numbers]
        mark('reading')
        raw = [decode(tower.modality, pair.files) for pair in read]
        mark('decoding')
        inputs = torch.stack([tower.preprocess(one) for one in raw])
        mark('preprocessing')
        bound = objective.hub.bound([int(n) for n in numbers], read, draw=str(step))
        mark('hub')
        batch = PairBatch(inputs, None, bound.vectors, bound.labels, bound.true_labels)
        run.optimizer.zero_grad(set_to_none=True)
        backpropagate(tower, batch, micro_batch=recipe.batch, ranks=ONE_PROCESS)
        mark('forward and backward pass')
        run.optimizer.step()
        mark('update')
    pairs_seen = steps * recipe.batch
    per_pair = {part: round(1e3 * used / pairs_seen, 3) for part, used in parts.items()}
    total_ms = sum(per_pair.values())
    return {
        'ms_per_pair': per_pair,
        'share': {part: round(ms / total_ms, 3) for part, ms in per_pair.items()},
        'pairs_per_core_hour': round(3.6e6 / total_ms),
    }


def embedded_by(
    folder: Path, arm: Arm, stored: NDArray[Any], *, work: Path
) -> NDArray[np.float32]:
    """Unit vectors of stored inputs by a trained model set; kept next to it."""
    path = folder / f'vectors_{len(stored)}.npy'
    if path.is_file():
        found: NDArray[np.float32] = np.load(path)
        return found
    encoder = load_encoders(folder, modalities=(arm.sensor,)).encoders[arm.sensor]
    assert isinstance(encoder, TowerEncoder)
    if arm.tuning == 'probe':  # the frozen part is the same in all arms
        tokens = _evaluation_tokens(encoder, stored, work / f'{arm.sensor}_{len(stored)}.pt')
        with torch.inference_mode():
            pooled = encoder.tower.pool(tokens).float()
        found = nn.functional.normalize(pooled, dim=-1).numpy()
    else:
        found = embed_stored(encoder, stored)
    np.save(path, found)
    return found


def _evaluation_tokens(encoder: TowerEncoder, stored: NDArray[Any], path: Path) -> Tensor:
    if not path.is_file():
        parts = [
            class_tokens(
                encoder.tower,
                from_stored(stored_tensor(stored[start : start + PART]), encoder.config),
            )
            for start in range(0, len(stored), PART)
        ]
        torch.save(torch.cat(parts), path)
    found: Tensor = torch.load(path, weights_only=True)
    return found
