"""Train readouts of a frozen model set: the text asks the tokens of each sensor.

Tokens are computed once (`readout_tokens`). A step asks every modality about a batch of samples,
some facts each, in a random wording (`readout_batch`). The loss is logistic; where a bag names the
parts of its images, two heads of the attention learn to look at the arguments of the fact. The
last blocks of the encoders may learn as well (`last_blocks`).
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.model_sets.files import read_tensors
from encoders.model_sets.manifest import read_manifest
from encoders.model_sets.readouts import config_for, describe_readouts, load_readouts
from encoders.vision.precision import dtype_of
from encoders.vision.readout import Readout
from encoders.vision.vit import LOGIT_SCALE_MAX
from train.asked import AskedVectors
from train.training.checkpoint import code_version
from train.training.last_blocks import LastBlocks, distance, last_blocks
from train.training.loop import Plan, new_run, train
from train.training.ranks import Ranks, add_gradients, summed, wait_for_all
from train.training.readout_batch import Sense, draw_questions, sense
from train.training.readout_loss import question_loss
from train.training.readout_recipe import ReadoutRecipe
from train.training.readout_set import readout_of, write_with_readouts
from train.training.readout_tokens import TokenData
from train.training.tower import parameter_groups
from train.validated import plain

# Keys that may change when a run resumes, for example on another machine.
CHANGEABLE = ('max_steps', 'save_every_steps', 'device', 'precision')


def train_readouts(
    recipe: ReadoutRecipe,
    start: Path,
    data: TokenData,
    wordings: AskedVectors,
    out: Path,
    *,
    ranks: Ranks,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
) -> Path:
    """Train readouts and write a copy of the model set with them to `out`; return its folder.

    Args:
        recipe: Training configuration.
        start: Folder of the model set, which stays as it is.
        data: Tokens and truth of the training samples.
        wordings: Training text of the predicates of `data`.
        out: Folder for checkpoint, log and the model set.
        ranks: All processes of this training.
        resume: Resume from the checkpoint in `out`.
        overwrite: Replace a run that `out` holds.
        tensorboard: Write event files for TensorBoard into `out`.

    Raises:
        ValueError: The batch does not divide among the processes, or a modality has no facts.

    Also raises the errors of `train.training.loop.train`.
    """
    if recipe.batch % ranks.count:
        raise ValueError(
            f'a batch of {recipe.batch} does not divide among {ranks.count} processes'
        )
    folder = out / recipe.name
    if folder.resolve() == start.resolve():
        raise ValueError(f'{folder}: is the set to start from; give another --out')
    asking = new_asking(recipe, start, data, wordings, ranks=ranks)
    plan = Plan(
        max_steps=recipe.max_steps,
        save_every_steps=recipe.save_every_steps,
        clip_norm=recipe.clip_norm,
        recipe=plain(recipe),
        data=identity(data, start, continued=recipe.continued),
        changeable=CHANGEABLE,
    )
    run = new_run(asking, plan, asking.groups())
    out.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        print(announcement(asking), flush=True)
    train(run, out, ranks=ranks, resume=resume, overwrite=overwrite, tensorboard=tensorboard)
    if ranks.first:
        rate = run.step / max(run.elapsed_s, 1e-9)
        print(
            f'{run.step:,} steps in {run.elapsed_s / 60:.1f} min, {rate:.1f} steps/s', flush=True
        )
        provenance = {
            'recipe': plain(recipe),
            'steps': run.step,
            'minutes': round(run.elapsed_s / 60, 1),
            'bags': len(data.samples.bags),
            'moments': len(data.samples),
            'code': code_version(),
        }
        write_with_readouts(
            start,
            folder,
            asking.average,
            recipe.name,
            provenance,
            blocks=asking.average_blocks,
        )
    wait_for_all(ranks)
    return folder


def new_asking(
    recipe: ReadoutRecipe, start: Path, data: TokenData, wordings: AskedVectors, *, ranks: Ranks
) -> Asking:
    """The objective before its first step.

    Raises:
        ValueError: Nothing about the samples of a modality can be learned, the start has no
            readout that can be continued, or the tokens were computed for another number of
            blocks that learn.
    """
    if data.unfreeze_blocks != recipe.unfreeze_blocks:
        raise ValueError(
            f'unfreeze_blocks: {recipe.unfreeze_blocks}, but the tokens were loaded for '
            f'{data.unfreeze_blocks}; load them with the same number'
        )
    specs = read_manifest(start).manifest.modalities
    shape = {'width': recipe.width, 'heads': recipe.heads, 'layers': recipe.layers}
    shape['text_hidden'] = recipe.text_hidden
    begun = load_readouts(start, modalities=recipe.modalities) if recipe.continued else {}
    torch.manual_seed(recipe.seed)
    readouts: dict[str, nn.Module] = {}
    senses = {}
    for name in recipe.modalities:
        vision = specs[name].vision
        readout = Readout(config_for(vision, **shape))
        if recipe.continued:
            _copy_readout(begun.get(name), readout, name)
        readouts[name] = readout.to(ranks.device)
        senses[name] = sense(
            data,
            name,
            relations=recipe.relations.get(name),
            other_relations=recipe.other_relations,
            grid=vision.grid if recipe.attention_weight.get(name) else None,
        )
        if not len(senses[name].rows):
            raise ValueError(
                f'{name}: no predicate is both true and false in the bags where it was recorded; '
                f'leave it out, or record more bags'
            )
    model, blocks = nn.ModuleDict(readouts), _last_blocks(recipe, start).to(ranks.device)
    return Asking(
        recipe=recipe,
        data=data,
        senses=senses,
        wordings=wordings,
        model=model,
        average=copy.deepcopy(model).requires_grad_(False),
        ranks=ranks,
        blocks=blocks,
        average_blocks=copy.deepcopy(blocks).requires_grad_(False),
    )


def _last_blocks(recipe: ReadoutRecipe, start: Path) -> nn.ModuleDict:
    """The blocks that learn, by modality; empty if none does."""
    if not recipe.unfreeze_blocks:
        return nn.ModuleDict()
    manifest, tensors, _ = read_tensors(start)
    found: dict[str, nn.Module] = {}
    for name in recipe.modalities:
        vision = manifest.modalities[name].vision
        found[name] = LastBlocks(vision, tensors[name], count=recipe.unfreeze_blocks)
    return nn.ModuleDict(found)


def _copy_readout(begun: Readout | None, readout: Readout, modality: str) -> None:
    if begun is None or begun.config != readout.config:
        raise ValueError(
            f'{modality}: the start has no readout of this shape; set `continued` to false, '
            f'or start from a set that has one'
        )
    readout.load_state_dict(begun.state_dict())


@dataclass
class Asking:
    """Objective of readouts (see `train.training.loop.Objective`).

    Attributes:
        data: Training samples.
        senses: What each modality can learn from them.
        wordings: Training text of their predicates.
        model: Readouts in training, by modality.
        average: Their exponential moving average, which becomes the result.
        blocks: Last blocks of the encoders that learn along, by modality; empty if none does.
        average_blocks: Their moving average.
    """

    recipe: ReadoutRecipe
    data: TokenData
    senses: Mapping[str, Sense]
    wordings: AskedVectors
    model: nn.ModuleDict
    average: nn.ModuleDict
    ranks: Ranks
    blocks: nn.ModuleDict
    average_blocks: nn.ModuleDict

    @property
    def samples_per_step(self) -> int:
        """Samples of all modalities in one step."""
        return self.recipe.batch * len(self.senses)

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters, by name."""
        yield from self.model.named_parameters()
        yield from self.blocks.named_parameters(prefix='blocks')

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of AdamW; the blocks have a learning rate of their own."""
        recipe = self.recipe
        found = parameter_groups(self.model.named_parameters(), weight_decay=recipe.weight_decay)
        if self.blocks:
            factor = recipe.blocks_learning_rate / recipe.learning_rate
            own = parameter_groups(
                self.blocks.named_parameters(), weight_decay=recipe.weight_decay
            )
            found += [group | {'rate_factor': factor} for group in own]
        return found

    def learning_rate(self, step: int, done: float) -> float:
        """Half a cosine to 0, multiplied by a linear warm-up."""
        rate = self.recipe.learning_rate * min(1.0, (step + 1) / self.recipe.warmup_steps)
        return rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def backward(self, step: int, scaler: torch.amp.GradScaler) -> dict[str, float]:
        """Compute gradients of one batch per modality, one after the other; return the losses."""
        losses = {}
        for place, (name, sensed) in enumerate(self.senses.items()):
            seed = (self.recipe.seed * 1_000_003 + step) * 64 + place
            loss = self._loss(sensed, torch.Generator().manual_seed(seed))
            if torch.isfinite(loss):
                loss.backward()  # type: ignore[no-untyped-call]
            losses[name] = float(summed(loss.detach(), self.ranks))
        add_gradients((parameter for _, parameter in self.learning()), self.ranks)
        return losses

    def _loss(self, sensed: Sense, generator: torch.Generator) -> Tensor:
        """This process's part of the loss of a batch, scalar; the parts add up to the loss."""
        recipe, name = self.recipe, sensed.modality
        questions = draw_questions(
            self.data,
            sensed,
            self.wordings,
            generator,
            batch=recipe.batch,
            facts=recipe.facts,
            rivals=recipe.rivals,
            jitter=recipe.text_jitter,
        )
        readout = readout_of(self.model, name)
        shape = (recipe.batch, readout.config.tokens, 1)
        kept = torch.rand(shape, generator=generator) >= recipe.token_dropout
        share = recipe.batch // self.ranks.count
        mine = slice(self.ranks.rank * share, (self.ranks.rank + 1) * share)
        bf16 = dtype_of(recipe.precision, device=self.ranks.device) == torch.bfloat16
        own = (questions.rows[mine], questions.copies[mine])
        tokens, moved = self._tokens(name, *own, bf16=bf16)
        loss = question_loss(
            readout,
            questions,
            tokens * kept[mine].to(tokens.device),
            mine=mine,
            rival_weight=recipe.rival_weight,
            attention_weight=recipe.attention_weight.get(name, 0.0),
            bf16=bf16,
        )
        return loss if moved is None else loss + recipe.keep_weight * moved / recipe.batch

    def _tokens(
        self, modality: str, rows: Tensor, copies: Tensor, *, bf16: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens of the last block; if blocks learn, also how far the vectors moved, scalar."""
        device = self.ranks.device
        stored = self.data.tokens(modality, rows, copies).to(device)
        if modality not in self.blocks:
            return stored, None
        blocks = last_blocks(self.blocks, modality)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            tokens = blocks(stored.float())
        frozen = self.data.vectors(modality, rows, copies).to(device)
        return tokens, distance(blocks.vectors(tokens), frozen)

    @torch.no_grad()
    def updated(self, step: int) -> None:
        """Update the moving average; early in training it forgets the random start quickly."""
        for name in self.senses:
            readout_of(self.model, name).log_scale.clamp_(max=LOGIT_SCALE_MAX)
        keep = min(self.recipe.ema, (1 + step) / (10 + step))
        slow: list[Tensor] = [*self.average.parameters(), *self.average_blocks.parameters()]
        fast: list[Tensor] = [*self.model.parameters(), *self.blocks.parameters()]
        torch._foreach_lerp_(slow, fast, 1 - keep)

    def temperatures(self) -> dict[str, float]:
        """Temperature by modality."""
        scales = {name: readout_of(self.model, name).log_scale for name in self.senses}
        return {name: math.exp(-float(scale.detach())) for name, scale in scales.items()}

    def validate(self) -> None:
        """Readouts are evaluated after the training, with `lb-ros eval`."""

    def state(self) -> dict[str, Any]:
        """Readouts, blocks that learn along, and their averages."""
        state = {'model': self.model.state_dict(), 'average': self.average.state_dict()}
        if self.blocks:
            state['blocks'] = self.blocks.state_dict()
            state['average_blocks'] = self.average_blocks.state_dict()
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.model.load_state_dict(state['model'])
        self.average.load_state_dict(state['average'])
        if self.blocks:
            self.blocks.load_state_dict(state['blocks'])
            self.average_blocks.load_state_dict(state['average_blocks'])


def identity(data: TokenData, start: Path, *, continued: bool = False) -> dict[str, Any]:
    """Values that identify the data of a run, and the weights that it begins with."""
    described = describe_readouts(start)
    samples = data.samples
    digest = hashlib.sha256(samples.truth.tobytes() + samples.times_s.tobytes())
    return {
        'bags': list(samples.bags),
        'moments': len(samples),
        'truth': digest.hexdigest()[:16],
        'weights': read_manifest(start).sha256,
        'readouts': described.sha256 if continued and described else '',
    }


def announcement(asking: Asking) -> str:
    """Text shown before the first step: what is trained, and on what."""
    samples, recipe = asking.data.samples, asking.recipe
    trained = sum(parameter.numel() for _, parameter in asking.learning())
    head = (
        f'{recipe.name}: training {trained:,} values for {recipe.max_steps:,} steps on '
        f'{len(samples):,} moments of {len(samples.bags)} bags, '
        f'{len(samples.predicates)} predicates, {asking.data.copies} copies of each input'
    )
    lines = []
    for name, sensed in asking.senses.items():
        regions = sum(bool(targets.any()) for targets in sensed.targets)
        line = f'  {name}: {len(sensed.rows):,} moments; regions in {regions} bags'
        if recipe.unfreeze_blocks:
            line += f'; blocks that learn along: {recipe.unfreeze_blocks}'
        lines.append(line)
    return '\n'.join([head, *lines])
