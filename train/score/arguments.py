"""Options of `lb-ros score`, and options of all commands that embed bags."""

from __future__ import annotations

import argparse

from encoders.modalities import SENSED
from encoders.vision.choices import PRECISIONS
from train.arguments import add_list, device, file, model, number, place, region, there, whole
from train.cluster import add_ray_argument

DEFAULT_MAX_RATE_HZ = 15.0  # as in the live nodes
DEFAULT_FPS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `lb-ros score`."""
    parser.epilog = (
        'example: lb-ros score bags/ --predicates config/predicates.yaml -o scored --mcap'
    )
    parser.add_argument(
        'bags', type=there, nargs='+', metavar='BAG', help='bags or folders of them'
    )
    parser.add_argument(
        '--predicates', type=file, help='YAML file; the shipped one, as live, by default'
    )
    parser.add_argument(
        '--taught',
        type=file,
        help='what was taught (lb-ros teach); the file next to --predicates by default',
    )
    parser.add_argument(
        '-o',
        '--out',
        type=place,
        required=True,
        help='folder with one folder per bag, or for one bag a file that ends in .parquet',
    )
    parser.add_argument('--mcap', action='store_true', help='a copy of the bag with the scores')
    parser.add_argument('--rerun', action='store_true', help="a recording for Rerun's viewer")
    parser.add_argument(
        '--lerobot', type=place, metavar='FOLDER', help='all bags as a new LeRobot data set'
    )
    parser.add_argument(
        '--lerobot-fps', type=whole(1), default=DEFAULT_FPS, help='frames per second of it'
    )
    parser.add_argument('--no-timeline', action='store_true', help='neither PNG nor HTML')
    parser.add_argument('--json', action='store_true', help='print what was done as JSON')
    add_ray_argument(parser)
    add_reading_arguments(parser)
    parser.add_argument(
        '--region',
        type=region,
        action='append',
        default=[],
        dest='regions',
        metavar='NAME=MODALITY:X,Y,W,H',
        help='a part of the view as a sensor of its own, in shares of the image, as in '
        'gripper=depth:0.3,0.2,0.4,0.4, or cup=depth:box:TOPIC or cup=depth:mask:TOPIC; '
        'predicates name it depth@gripper',
    )


def add_reading_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the options of all commands that embed bags."""
    parser.add_argument('--model', type=model, default='lb-mini', help='model set')
    add_topics_argument(parser)
    add_channels_argument(parser)
    add_list(
        parser,
        '--modalities',
        alias='--modality',
        known=SENSED,
        about=f'only these; some of {", ".join(SENSED)}; all by default',
    )
    parser.add_argument(
        '--max-rate-hz',
        type=number(0),
        default=DEFAULT_MAX_RATE_HZ,
        help='windows per second and sensor at most, as the live nodes; 0 for all',
    )
    parser.add_argument(
        '--device', type=device, default='cpu', help='torch device of the encoders'
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='auto',
        help='of the encoders; auto (as live): bf16 where the hardware supports it, else fp32',
    )
    parser.add_argument(
        '--threads', type=whole(0), default=0, help='that encode; 0 for one per core'
    )


def add_channels_argument(parser: argparse._ActionsContainer) -> None:
    """Declare the option for the channels of `signals`."""
    parser.add_argument(
        '--channels',
        type=file,
        metavar='FILE',
        help='YAML file that describes the channels of signals, as the parameter signals_channels '
        'of nodes; those of the training by default',
    )


def add_topics_argument(parser: argparse._ActionsContainer) -> None:
    """Declare the option for the sensor topics of a bag."""
    add_list(
        parser,
        '--topics',
        alias='--topic',
        known=SENSED,
        keyed=True,
        metavar='MODALITY=/TOPIC',
        about='where sensors are, as in depth=/camera/depth/image_raw audio=/mic',
    )
