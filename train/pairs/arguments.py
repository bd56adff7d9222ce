"""The options of `lb-ros train pairs`."""

from __future__ import annotations

import argparse

from encoders.modalities import MODALITIES
from train.arguments import add_list, file, number, place, there, whole
from train.bags.topics import TRUTH_TOPIC
from train.cluster import add_ray_argument
from train.pairs.options import ANNOTATION_TOPICS, DEFAULT_PAIRS, NOTE_TOPICS, TASK_TOPICS

EPILOG = """example: lb-ros train pairs --data bags/ --out pairs/ --modalities depth audio

Sentences come from the ground truth, task text, annotation and note topics, and sidecar files with
the columns start, end, text (and bag, kind). Bags that are damaged, lack a topic or jump in time
cost only what is missing; the report says what was used and dropped. The result are webdataset
shards with a manifest; `lb-ros train contrast` reads them, or bags without this step."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument(
        '--data', type=there, nargs='+', required=True, help='bags or folders of bags'
    )
    parser.add_argument('--out', type=place, required=True, help='folder of the shards')
    parser.add_argument('--overwrite', action='store_true', help='replace the set in --out')
    parser.add_argument(
        '--evaluation',
        action='store_true',
        help='take bags that are kept for evaluation; the set is marked and never trained on',
    )
    parser.add_argument(
        '--pairs-per-shard',
        type=whole(1),
        default=DEFAULT_PAIRS,
        metavar='N',
        help='of pairs in one file',
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    add_ray_argument(parser)
    add_pair_arguments(parser)


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how bags become pairs."""
    sensors = parser.add_argument_group('sensors')
    add_list(
        sensors,
        '--modalities',
        alias='--modality',
        known=tuple(MODALITIES),
        default=('image', 'depth', 'infrared', 'audio'),
        about=f'some of {", ".join(MODALITIES)}',
    )
    add_list(
        sensors,
        '--topics',
        alias='--topic',
        known=tuple(MODALITIES),
        keyed=True,
        metavar='MODALITY=/TOPIC[,/TOPIC]',
        about='where a modality comes from, if not from the usual topic',
    )
    sensors.add_argument(
        '--types',
        type=there,
        metavar='DIR',
        help='PACKAGE/msg/*.msg, for bags without types',
    )
    sensors.add_argument(
        '--clock',
        choices=('header', 'log'),
        default='header',
        help='stamps of messages, or times of recording',
    )
    windows = parser.add_argument_group('windows')
    windows.add_argument(
        '--windows-at',
        default='',
        metavar='TOPIC',
        help='end a window at every message of this topic; `texts`: one window '
        'per stretch of time with a text; default: at the ground truth, or every '
        'second',
    )
    windows.add_argument(
        '--every', type=number(0, exclusive=True), metavar='S', help='end a window every S seconds'
    )
    windows.add_argument(
        '--window',
        type=number(0, exclusive=True),
        default=2.0,
        metavar='S',
        help='length in seconds',
    )
    windows.add_argument(
        '--max-offset',
        type=number(0),
        default=0.1,
        metavar='S',
        help='largest distance of a picture from its window',
    )
    texts = parser.add_argument_group('sentences')
    texts.add_argument(
        '--truth-topic', default=TRUTH_TOPIC, metavar='TOPIC', help='of the ground truth'
    )
    add_list(texts, '--task-topics', default=TASK_TOPICS, metavar='TOPIC', about='of task texts')
    add_list(
        texts,
        '--annotation-topics',
        default=ANNOTATION_TOPICS,
        metavar='TOPIC',
        about='of annotations',
    )
    add_list(texts, '--note-topics', default=NOTE_TOPICS, metavar='TOPIC', about='of notes')
    texts.add_argument(
        '--sidecar',
        type=file,
        nargs='*',
        default=[],
        metavar='FILE',
        help='.csv, .yaml or .json: start, end, text[, bag, kind]',
    )
    texts.add_argument('--phrasings', default='trained', help='wordings of predicates')
    texts.add_argument(
        '--sentences-per-fact', type=whole(1), default=2, metavar='N', help='of a window'
    )
    texts.add_argument('--max-texts', type=whole(1), default=24, metavar='N', help='per window')
    texts.add_argument('--templates', type=file, help='YAML list of sentences with a {}')
    texts.add_argument('--paraphrases', type=file, help='YAML: sentence to other sentences')
    texts.add_argument(
        '--captioner',
        nargs='*',
        default=[],
        metavar='MODULE:NAME',
        help='callable: samples of a window to sentences',
    )
    texts.add_argument(
        '--refiner',
        nargs='*',
        default=[],
        metavar='MODULE:NAME',
        help='callable: sentences to better ones',
    )
    texts.add_argument(
        '--generator',
        nargs='*',
        default=[],
        metavar='MODALITY=MODULE:NAME',
        help='predict a modality that no sensor measured; marked as generated',
    )
    balance = parser.add_argument_group('balance')
    balance.add_argument(
        '--max-per-entry',
        type=whole(1),
        metavar='N',
        help='keep about N windows per entry of the vocabulary',
    )
    balance.add_argument(
        '--vocabulary',
        type=file,
        metavar='FILE',
        help='words or phrases, one a line; every sentence where not given',
    )
    parser.add_argument(
        '--seed', type=whole(0), default=0, help='of every choice between sentences and windows'
    )
