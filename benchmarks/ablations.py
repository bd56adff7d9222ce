"""Ablation of the contrastive recipe on bags, after table 8 of LanguageBind.

Infrared is bound to language, starting from the image encoder of `lb-mini` (which was not trained
on infrared), with the code of the recipe. The variants: low-rank updates against full tuning and a
probe, the share of dropped patches, a trained or fixed temperature, the rank, and the wordings per
fact. Runs are separate processes in sequence, seed by seed; finished runs are kept in `--work`, so
that a second call resumes. Held-out loss, retrieval and AUROC are measured on `--val-bags`.

    python -m benchmarks.ablations --train-bags bags/train --val-bags bags/val --work runs/a
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from benchmarks.environment import write_result
from benchmarks.training_throughput import RESET_PEAK, STATUS
from encoders.model_sets.binder import Binder
from encoders.model_sets.encoder import Encoder
from encoders.model_sets.files import write_set
from encoders.model_sets.manifest import Manifest, ModalitySpec
from encoders.model_sets.places import find_set
from encoders.model_sets.sources import load_encoders
from encoders.model_sets.towers import TowerEncoder
from encoders.preprocess import mini_config
from encoders.shipped import shipped
from train.bags.find import find_bags
from train.evaluation.evaluate import embed_bags, score_predicates
from train.evaluation.pair_eval import embed_pairs, retrieval_tables
from train.pairs.data import PairData, open_pair_data
from train.pairs.options import PairOptions
from train.phrasings import Phrasings, relation_of
from train.training.batch import draw_batch
from train.training.cached import matches
from train.training.contrast import contrast_run, open_trained
from train.training.contrast_recipe import ContrastRecipe, load_contrast_recipe
from train.training.hub import LanguageHub
from train.training.loop import training_step
from train.training.loss import contrastive_loss
from train.training.ranks import Ranks
from train.training.tower import TrainedSet

MODALITY, START_FROM = 'infrared', 'image'
RECIPE = Path(__file__).resolve().parent.parent / 'config/recipes/languagebind-infrared.yaml'
BASE: dict[str, Any] = {'learning_rate': 5e-4, 'warmup_steps': 10, 'precision': 'bf16'}
ALL = 1000
WORDINGS = (1, 3, 10)
VARIANTS: dict[str, dict[str, Any]] = {
    'base: low rank 2, mask 0.5, all wordings': {},
    'full tuning': {'tuning': 'full'},
    'probe': {'tuning': 'probe'},
    **{f'mask {m}': {'patch_dropout': {MODALITY: m}} for m in (0.0, 0.3, 0.7)},
    'fixed temperature': {'learn_temperature': False},
    **{f'rank {r}': {'lora': {'rank': r, 'alpha': 16, 'dropout': 0.1}} for r in (4, 8, 16)},
    **{f'wordings {n}': {'wordings': n} for n in WORDINGS},
}
HELD_OUT_BATCHES = 8
RELATIONS = ('hot', 'turned on')
RETRIEVED = 300
TEXT_SOURCES = ('predicate',)  # task texts are the same for all samples of a bag
TIMEOUT_S = 3600.0


def main() -> None:
    """Perform the missing runs and write the result file; with --run, perform a single run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--train-bags', type=Path, nargs='+', required=True)
    parser.add_argument('--val-bags', type=Path, nargs='+', required=True)
    parser.add_argument('--work', type=Path, required=True, help='pairs, start set and runs')
    parser.add_argument('--steps', type=int, default=150)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--name', default='ablations')
    parser.add_argument('--run', nargs=2, metavar=('VARIANT', 'SEED'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(one_run(args, args.run[0], int(args.run[1]))))
        return
    prepare(args)
    done: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for seed in args.seeds:
        for variant in VARIANTS:
            done[variant].append(_run_apart(args, variant, seed))
            print(f'{variant}, seed {seed}: {done[variant][-1]}', flush=True)
        result = {
            'modality': MODALITY,
            'start': f'the {START_FROM} encoder of lb-mini',
            'train_bags': len(find_bags(args.train_bags)),
            'val_bags': len(find_bags(args.val_bags)),
            'recipe': {**BASE, 'steps': args.steps, 'batch': args.batch, 'file': RECIPE.name},
            'threads': args.threads,
            'variants': {name: summary(runs) for name, runs in done.items()},
        }
        print(f'written to {write_result(args.name, result)}', flush=True)


def prepare(args: argparse.Namespace) -> None:
    """Write the initial model set, and pairs of the bags with 1, 3, ... wordings per fact."""
    if not (args.work / 'start').is_dir():
        write_start(args.work / 'start')
    for count in (*WORDINGS, ALL):
        _write_pairs(args.train_bags, args.work / f'pairs_{count}', wordings=count)
    _write_pairs(args.val_bags, args.work / 'pairs_val', wordings=ALL)


def _write_pairs(bags: Sequence[Path], out: Path, *, wordings: int) -> None:
    if out.is_dir():
        return
    phrasings = out.with_suffix('.yaml')
    phrasings.write_text(yaml.safe_dump(limited_phrasings(wordings), sort_keys=False))
    command = [sys.executable, '-m', 'train.cli', 'train', 'pairs', '--modalities', MODALITY]
    command += ['--phrasings', str(phrasings), '--out', str(out), '--data', *map(str, bags)]
    subprocess.run(command, check=True)


def limited_phrasings(count: int) -> dict[str, Any]:
    """The trained wordings, at most `count` patterns per side, those of the relation first."""
    loaded: dict[str, Any] = yaml.safe_load(shipped('config/phrasings/trained.yaml').read_text())
    for entry in loaded['relations'].values():
        left = {side: max(0, count - len(entry[side])) for side in ('positive', 'negative')}
        for side in left:
            entry[side] = entry[side][:count]
        if not min(left.values()):
            entry.pop('kinds', None)
        for extra in (entry.get('kinds') or {}).values():
            extra |= {side: extra[side][:most] for side, most in left.items()}
    return loaded


def write_start(folder: Path) -> None:
    """Write a model set whose infrared encoder is the shipped image encoder."""
    found = load_encoders(find_set('lb-mini'), modalities=[START_FROM])
    encoder = found.encoders[START_FROM]
    assert isinstance(encoder, TowerEncoder)
    size = encoder.tower.config.image_size[0]
    spec = ModalitySpec(encoder.tower.config, mini_config(MODALITY, {'size': size}))
    manifest = Manifest('start', found.text.space, 'minilm-l6-v2', {MODALITY: spec})
    write_set(folder, manifest, {MODALITY: encoder.tower.state_dict()})


def one_run(args: argparse.Namespace, variant: str, seed: int) -> dict[str, Any]:
    """Train and evaluate one variant."""
    torch.set_num_threads(args.threads)
    changes = dict(VARIANTS[variant])
    wordings = changes.pop('wordings', ALL)
    recipe = load_contrast_recipe(
        RECIPE,
        **BASE,
        start=str(args.work / 'start'),
        max_steps=args.steps,
        batch=args.batch,
        micro_batch=args.batch,
        seed=seed,
        **changes,
    )
    data = _open(args.work / f'pairs_{wordings}', recipe)
    trained = open_trained(recipe)
    ranks = Ranks(0, 1, torch.device('cpu'))
    run = contrast_run(recipe, trained, data, steps=args.steps, ranks=ranks)
    before_mib = _reset_peak()
    began_s = time.process_time()
    for _ in range(args.steps):
        training_step(run)
    used_s, peak_mib = time.process_time() - began_s, _status_mib('VmHWM') - before_mib
    held_out = _open(args.work / 'pairs_val', recipe)
    return {
        'cpu_s': round(used_s, 1),
        'added_peak_mib': round(peak_mib),
        'trained_values': sum(p.numel() for t in trained.towers.values() for p in t.learning()),
        'held_out_loss': round(held_out_loss(recipe, trained, held_out, ranks=ranks), 4),
        'temperature': round(trained.towers[MODALITY].temperature, 4),
        **quality(args, recipe, trained, held_out),
    }


def _open(folder: Path, recipe: ContrastRecipe) -> PairData:
    options = PairOptions(modalities=recipe.modalities)
    return open_pair_data([folder], options, text_sources=TEXT_SOURCES)


@torch.no_grad()
def held_out_loss(
    recipe: ContrastRecipe, trained: TrainedSet, data: PairData, *, ranks: Ranks
) -> float:
    """Mean loss on fixed batches, without patch dropout, at the initial temperature."""
    tower = trained.towers[MODALITY]
    tower.module.eval()
    scale = 1.0 / (recipe.temperature or 0.07)
    hub = LanguageHub(data, trained.text)
    losses = []
    for step in range(HELD_OUT_BATCHES):
        batch = draw_batch(
            data, tower, hub, step=step, batch=recipe.batch, patch_dropout=0.0, seed=0,
            ranks=ranks,
        )  # fmt: skip
        vectors = torch.nn.functional.normalize(tower.module(batch.inputs).float(), dim=-1)
        known = torch.ones(len(vectors), len(vectors), dtype=torch.bool)
        loss = contrastive_loss(
            vectors, batch.targets, matches=matches(batch, ranks), known=known,
            scale=torch.tensor(scale),
        )  # fmt: skip
        losses.append(float(loss))
    return sum(losses) / len(losses)


def quality(
    args: argparse.Namespace, recipe: ContrastRecipe, trained: TrainedSet, held_out: PairData
) -> dict[str, Any]:
    """Retrieval on held-out pairs, and AUROC of `RELATIONS` in both wordings."""
    folder = trained.save(args.work / f'trained_{recipe.seed}', 'trained', {})
    binder = Binder.load(str(folder))
    embedded = embed_pairs(binder, held_out, recipe.modalities, limit=RETRIEVED)
    tables = retrieval_tables(embedded)
    found: dict[str, Any] = {
        f'{direction} R@1': round(tables[direction].recall[1].value, 4)
        for direction in (f'{MODALITY} -> text', f'text -> {MODALITY}')
    }
    encoders: Mapping[str, Encoder] = load_encoders(folder).encoders
    bags = find_bags(args.val_bags)
    vectors, samples, _ = embed_bags(encoders, bags, cache=args.work / 'cache')
    columns = [k for k, name in enumerate(samples.predicates) if relation_of(name) in RELATIONS]
    told = replace(
        samples,
        predicates=tuple(samples.predicates[k] for k in columns),
        truth=samples.truth[:, columns],
    )
    for wording in ('trained', 'unseen'):
        scored = score_predicates(vectors, told, trained.text.embed, Phrasings.load(wording))
        for relation in RELATIONS:
            areas = [
                r.auroc for r in scored
                if relation_of(r.name) == relation and min(r.positives, r.negatives) >= 5
            ]  # fmt: skip
            if areas:
                found[f'{relation} AUROC, {wording} wording'] = round(median(areas), 4)
    return found


def _run_apart(args: argparse.Namespace, variant: str, seed: int) -> dict[str, Any]:
    choices = (variant.replace(' ', '_'), seed, args.steps, args.batch)
    kept = args.work / f'{"_".join(map(str, choices))}.json'
    if not kept.is_file():
        command = [sys.executable, '-m', 'benchmarks.ablations', '--run', variant, str(seed)]
        for name in ('work', 'steps', 'batch', 'threads'):
            command += [f'--{name}', str(getattr(args, name))]
        for name in ('train_bags', 'val_bags'):
            command += [f'--{name.replace("_", "-")}', *map(str, getattr(args, name))]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
        kept.write_bytes(done.stdout)
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Median, minimum and maximum over seeds."""
    return {
        key: {
            'median': median(run[key] for run in runs),
            'range': [min(run[key] for run in runs), max(run[key] for run in runs)],
        }
        for key in (runs[0] if runs else ())
    }


def _reset_peak() -> float:
    RESET_PEAK.write_text('5')
    return _status_mib('VmRSS')


def _status_mib(key: str) -> float:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


if __name__ == '__main__':
    main()
