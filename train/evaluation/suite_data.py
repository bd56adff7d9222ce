"""Reading of users' copies of evaluation data sets: the files and their classes or captions.

Layouts (some data sets have several):

    llvip   crops: DIR[/infrared]/{background,people}/*, optionally DIR/visible/... for fusion;
            original: DIR/{infrared,visible}/test/*.jpg with DIR/Annotations/*.xml
    nyu-d   DIR[/depth]/<class>/*.png in 16-bit millimetres, optionally DIR/rgb/<class>/...
    esc50   DIR/meta/esc50.csv and DIR/audio/*.wav
    clotho  DIR/clotho_captions_evaluation.csv and DIR/evaluation/*.wav
    msrvtt  DIR/MSRVTT_JSFUSION_test.csv and the videos below DIR
"""

from __future__ import annotations

import csv
import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from encoders.modalities import MODALITIES
from encoders.shipped import shipped
from train.pairs.record import decode
from train.validated import InvalidRecordError, Template, read_record

FOLDERS = {
    'infrared': ('infrared', 'thermal', 'ir'),
    'depth': ('depth',),
    'image': ('visible', 'rgb', 'image', 'images'),
}
SPLITS = ('', 'test', 'val', 'data/test', 'data/val')
PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')
VIDEOS = ('.mp4', '.avi', '.mkv', '.webm')
CLIP_FRAMES = 8
CROP_TRIES = 50
MIN_CROP_PX = 8


class SuiteError(ValueError):
    """A data set is missing or has an unknown layout; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One evaluation sample.

    Attributes:
        files: File of each modality.
        label: Index of its class; -1 for samples with captions.
        captions: Captions of the sample.
        box: Part of the image (left, top, right, bottom), pixels; None for the whole image.
    """

    files: Mapping[str, Path]
    label: int = -1
    captions: tuple[str, ...] = ()
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """One entry of config/suites/suites.yaml."""

    name: str
    kind: str
    modalities: tuple[str, ...]
    templates: str = ''
    classes: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def label(self, name: str) -> int:
        """Index of a class, from its name in a folder or annotation.

        Raises:
            SuiteError: There is no such class.
        """
        plain = name.lower().replace('_', ' ').strip()
        plain = self.aliases.get(plain, plain)
        if plain not in self.classes:
            raise SuiteError(
                f'{self.name}: unknown class {name!r}, expected {", ".join(self.classes)}'
            )
        return self.classes.index(plain)


def load_suite(name: str) -> Suite:
    """Load a suite by name.

    Raises:
        SuiteError: The name is unknown; the message lists the known suites.
    """
    loaded = yaml.safe_load(shipped('config/suites/suites.yaml').read_text())
    if name not in loaded:
        raise SuiteError(f'unknown suite {name!r}, expected {", ".join(loaded)}')
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in loaded[name].items()
    }
    return Suite(name, **values)


def load_templates(suite: Suite, path: Path | None = None) -> tuple[str, ...]:
    """Load the prompt templates of a suite, or those of another file if `path` is given.

    Raises:
        SuiteError: The file has none for the suite, or one does not contain exactly one `{}`.
    """
    file = path or shipped('config/suites/templates.yaml')
    try:
        return read_record(file, dict[str, tuple[Template, ...]])[suite.templates]
    except KeyError as error:
        raise SuiteError(f'{file}: no templates {suite.templates!r}') from error
    except (OSError, InvalidRecordError) as error:
        raise SuiteError(str(error)) from error


def find_cases(suite: Suite, folder: Path) -> list[Case]:
    """Find all cases of a user's copy, in order of name.

    Raises:
        SuiteError: The layout is not one of those above.
    """
    if not folder.is_dir():
        raise SuiteError(f'{folder}: no such folder')
    if suite.name == 'esc50':
        cases = _esc50(suite, folder)
    elif suite.name == 'clotho':
        cases = _clotho(folder)
    elif suite.name == 'msrvtt':
        cases = _msrvtt(folder)
    elif (folder / 'Annotations').is_dir():
        cases = list(_annotated(suite, folder))
    else:
        cases = _class_folders(suite, folder)
    if not cases:
        raise SuiteError(f'{folder}: no case of {suite.name} in it')
    return cases


def read_case(case: Case, modality: str) -> Any:
    """Read a raw sample, as for `encoders.Binder.embed`.

    Raises:
        ValueError: The file is damaged.
    """
    path, known = case.files[modality], MODALITIES[modality]
    if known.kind == 'sound':
        return decode(modality, {f'{modality}.wav': path.read_bytes()})
    if known.kind == 'clip':
        return _clip(path)
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(f'{path}: no picture')
    if case.box is not None:
        left, top, right, bottom = case.box
        array = array[top:bottom, left:right]
    if known.pixels == 'colour':
        colour = cv2.COLOR_GRAY2RGB if array.ndim == 2 else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(array[..., :3] if array.ndim == 3 else array, colour)
    if array.ndim == 3:
        array = cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2GRAY)
    if known.pixels == 'depth' and array.dtype != np.uint16:
        raise ValueError(f'{path}: depth must be 16-bit millimetres, not {array.dtype}')
    return np.ascontiguousarray(array)


def _class_folders(suite: Suite, folder: Path) -> list[Case]:
    """Cases from folders named by class; further sensors of these cases have their own folders."""
    found: dict[tuple[int, str], dict[str, Path]] = {}
    for modality in suite.modalities:
        for file, label in _labelled(suite, _class_root(suite, folder, modality)):
            found.setdefault((label, file.stem), {})[modality] = file
    first = suite.modalities[0]
    return [Case(files, label) for (label, _), files in sorted(found.items()) if first in files]


def _class_root(suite: Suite, folder: Path, modality: str) -> Path | None:
    places = [folder / split / name for name in FOLDERS[modality] for split in SPLITS]
    places += [folder / name / split for name in FOLDERS[modality] for split in SPLITS]
    if modality == suite.modalities[0]:
        places += [folder / split for split in SPLITS]
    names = {*suite.classes, *suite.aliases}
    for place in places:
        if place.is_dir() and any(
            child.is_dir() and child.name.lower().replace('_', ' ') in names
            for child in place.iterdir()
        ):
            return place
    if modality == suite.modalities[0]:
        raise SuiteError(
            f'{folder}: no folders named by the classes of {suite.name} '
            f'({", ".join(suite.classes)}), neither in it nor in {", ".join(FOLDERS[modality])}'
        )
    return None


def _labelled(suite: Suite, root: Path | None) -> Iterator[tuple[Path, int]]:
    for child in sorted(root.iterdir()) if root else ():
        if child.is_dir():
            label = suite.label(child.name)
            yield from (
                (f, label) for f in sorted(child.iterdir()) if f.suffix.lower() in PICTURES
            )


def _annotated(suite: Suite, folder: Path) -> Iterator[Case]:
    """Cases of LLVIP as released: a crop of every person, and one of equal size without a person.

    The name of the image seeds the position of the background crops, so that every run uses the
    same ones.
    """
    pictures = sorted(p for p in (folder / 'infrared' / 'test').glob('*') if p.suffix in PICTURES)
    for picture in pictures:
        path = folder / 'Annotations' / f'{picture.stem}.xml'
        if not path.is_file():
            raise SuiteError(f'{path}: missing')
        files = {'infrared': picture}
        visible = folder / 'visible' / 'test' / picture.name
        if visible.is_file():
            files['image'] = visible
        boxes, size = _boxes(path)
        draw = random.Random(picture.stem)
        for name, box in boxes:
            yield Case(files, suite.label(name), box=box)
            empty = _empty_box(box, [b for _, b in boxes], size, draw)
            if empty is not None:
                yield Case(files, suite.label('background'), box=empty)


def _boxes(
    path: Path,
) -> tuple[list[tuple[str, tuple[int, int, int, int]]], tuple[int, int]]:
    try:
        root = ElementTree.parse(path).getroot()
        size = (int(root.findtext('size/width', '')), int(root.findtext('size/height', '')))
        boxes = []
        for entry in root.iter('object'):
            left, top, right, bottom = (
                int(float(entry.findtext(f'bndbox/{side}', '')))
                for side in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            if min(right - left, bottom - top) >= MIN_CROP_PX:
                boxes.append((entry.findtext('name', ''), (left, top, right, bottom)))
    except (ElementTree.ParseError, ValueError) as error:
        raise SuiteError(f'{path}: {error}') from error
    return boxes, size


def _empty_box(
    like: tuple[int, int, int, int],
    taken: Sequence[tuple[int, int, int, int]],
    size: tuple[int, int],
    draw: random.Random,
) -> tuple[int, int, int, int] | None:
    width, height = like[2] - like[0], like[3] - like[1]
    for _ in range(CROP_TRIES):
        left = draw.randint(0, max(0, size[0] - width))
        top = draw.randint(0, max(0, size[1] - height))
        box = (left, top, left + width, top + height)
        if not any(
            box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken
        ):
            return box
    return None


def _esc50(suite: Suite, folder: Path) -> list[Case]:
    rows = _csv(folder / 'meta' / 'esc50.csv', ('filename', 'category'))
    return [
        Case({'audio': folder / 'audio' / row['filename']}, suite.label(row['category']))
        for row in rows
    ]


def _clotho(folder: Path) -> list[Case]:
    path = folder / 'clotho_captions_evaluation.csv'
    captions = [f'caption_{k}' for k in range(1, 6)]
    root = next(
        (folder / n for n in ('evaluation', 'clotho_audio_evaluation') if (folder / n).is_dir()),
        None,
    )
    if root is None:
        raise SuiteError(f'{folder}: no folder evaluation with its sounds')
    return [
        Case({'audio': root / row['file_name']}, captions=tuple(row[c] for c in captions))
        for row in _csv(path, ('file_name', *captions))
    ]


def _msrvtt(folder: Path) -> list[Case]:
    """Cases of the 1k-A split: one sentence per video."""
    rows = _csv(folder / 'MSRVTT_JSFUSION_test.csv', ('video_id', 'sentence'))
    videos = {p.stem: p for p in sorted(folder.rglob('*')) if p.suffix.lower() in VIDEOS}
    cases = []
    for row in rows:
        if row['video_id'] not in videos:
            raise SuiteError(f'{folder}: no video {row["video_id"]} below it')
        cases.append(Case({'video': videos[row['video_id']]}, captions=(row['sentence'],)))
    return cases


def _csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SuiteError(f'{path}: {error}') from error
    for column in columns:
        if rows and rows[0].get(column) is None:
            raise SuiteError(f'{path}: no column {column!r}')
    return rows


def _clip(path: Path) -> NDArray[np.uint8]:
    """Read evenly spaced frames of a video file, uint8 `[T, H, W, 3]`."""
    video = cv2.VideoCapture(str(path))
    try:
        frames = []
        while True:
            there, frame = video.read()
            if not there:
                break
            frames.append(frame)
    finally:
        video.release()
    if not frames:
        raise ValueError(f'{path}: no frame can be read')
    chosen = np.linspace(0, len(frames) - 1, CLIP_FRAMES).astype(int)
    return np.stack([cv2.cvtColor(frames[k], cv2.COLOR_BGR2RGB) for k in chosen])
