"""Parts of views: live and `lb-ros score` embed the same pixels."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from encoders import Binder, decode_image
from encoders.decode import streams
from encoders.decode.followed import Followed
from encoders.regions import parse_region
from lb_ros.cli import main
from lb_ros.engine.arrival import Arrival, Encoded
from lb_ros.engine.worker import EncodingWorker
from tests.lb_ros.sinks import QueueSink
from tests.readouts import copy_with_readouts
from train.bags.reader import BagReport, read_bag
from train.score.embed import BagSource, embed_bag
from train.score.parts import Embeddings
from train.score.windows import SensorTopics

MOMENTS = [{'open(top drawer)': i % 4 > 1} for i in range(5)]
NEAR = parse_region('near=depth:0.25,0.5,0.5,0.5')
CORNER = parse_region('corner=depth:0,0,0.05,0.05')
REGIONS = (NEAR, CORNER)
LIMIT_S = 60.0
PREDICATES = """
predicates:
  near: {positive: [the top drawer is open], negative: [the top drawer is closed],
         modalities: [depth@near]}
  whole: {positive: [the top drawer is open], negative: [the top drawer is closed],
          modalities: [depth]}
"""


@pytest.fixture(scope='module')
def folder(tiny_model_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp('set') / 'with_readouts'
    return copy_with_readouts(tiny_model_set, target, modalities=('depth',))


@pytest.fixture(scope='module')
def binder(folder: Path) -> Binder:
    return Binder.load(folder)


@pytest.fixture(scope='module')
def bag(drawn: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(drawn.write(tmp_path_factory.mktemp('bags') / 'kitchen', MOMENTS))


def embedded(
    binder: Binder, bag: Path, store: Path, *regions: Any
) -> tuple[Embeddings, BagReport]:
    report = BagReport(bag)
    source = BagSource(bag, SensorTopics(), ('depth',), 15.0, regions)
    return embed_bag(binder, source, store=store, report=report), report


def live(binder: Binder, bag: Path, wants: Any = lambda sensor: True) -> list[list[Encoded]]:
    """What the worker gives for every depth image, in order."""
    batches: queue.Queue[list[Encoded]] = queue.Queue()

    class Sink(QueueSink):
        def receive(self, batch: Any) -> None:
            batches.put(list(batch))

    worker = EncodingWorker(binder, Sink(wants=wants), log=print)
    try:
        worker.add_sensor('depth', regions=REGIONS)
        found = []
        followed = [Followed(region) for region in REGIONS]
        for message in read_bag(bag, topics=['depth/image']):
            places = {each.region.sensor: each.at(message.log_ns) for each in followed}
            arrival = Arrival(
                message.message, message.stamp_ns, '', time.monotonic(), places=places
            )
            worker.put('depth', arrival)
            found.append(batches.get(timeout=LIMIT_S))
        assert worker.counters()['depth'].encoded == len(found)
    finally:
        worker.close()
    return found


def test_live_and_offline_give_the_same_embeddings(
    binder: Binder, bag: Path, tmp_path: Path
) -> None:
    offline, report = embedded(binder, bag, tmp_path / 'store', *REGIONS)
    rows = {
        (str(name), int(stamp)): (vector, str(why))
        for name, stamp, vector, why in zip(
            offline.modality,
            offline.stamp_ns,
            offline.vectors,
            offline.invalid_reason,
            strict=True,
        )
    }
    batches = live(binder, bag)
    assert len(rows) == 3 * len(MOMENTS) and report.problems == []
    for batch in batches:
        assert [each.modality for each in batch] == ['depth', 'depth@near', 'depth@corner']
        for each in batch:
            vector, why = rows[each.modality, each.stamp_ns]
            np.testing.assert_allclose(each.vector, vector, atol=1e-5)
            assert each.invalid_reason == why
            assert (why != '') == (each.modality == 'depth@corner')
    message = next(iter(read_bag(bag, topics=['depth/image']))).message
    array = decode_image(message, modality='depth').array
    height, width = array.shape
    part = array[height // 2 :, width // 4 : width - width // 4]
    np.testing.assert_allclose(
        batches[0][1].vector, binder.embed(depth=part)['depth'][0], atol=1e-5
    )


def test_a_message_is_decoded_once_for_all_parts(
    binder: Binder, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counted(message: Any, **options: Any) -> Any:
        decoded.append(1)
        return decode_image(message, **options)

    monkeypatch.setattr(streams, 'decode_image', counted)
    live(binder, bag)
    assert len(decoded) == len(MOMENTS)


def test_views_that_nobody_wants_are_not_encoded(binder: Binder, bag: Path) -> None:
    batches = live(binder, bag, wants=lambda sensor: sensor == 'depth@near')
    assert {each.modality for batch in batches for each in batch} == {'depth@near'}


def test_whole_views_are_the_same_with_and_without_parts(
    binder: Binder, bag: Path, tmp_path: Path
) -> None:
    with_parts, _ = embedded(binder, bag, tmp_path / 'one', *REGIONS)
    without, _ = embedded(binder, bag, tmp_path / 'other')
    whole = with_parts.vectors[with_parts.modality == 'depth']
    np.testing.assert_allclose(whole, without.vectors, atol=1e-5)


def test_stored_embeddings_of_other_regions_are_not_reused(
    binder: Binder, bag: Path, tmp_path: Path
) -> None:
    embedded(binder, bag, tmp_path / 'store', NEAR)
    again, report = embedded(binder, bag, tmp_path / 'store', NEAR)
    assert report.problems == [] and set(again.modality) == {'depth', 'depth@near'}
    _, report = embedded(binder, bag, tmp_path / 'store', NEAR, CORNER)
    assert 'starting anew' in report.problems[0]


def test_the_command_scores_a_part_as_a_sensor(
    bag: Path, folder: Path, binder: Binder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / 'predicates.yaml', tmp_path / 'scores.parquet'
    file.write_text(PREDICATES)
    words = ['score', str(bag), '--predicates', str(file), '--model', str(folder)]
    words += ['-o', str(out), '--precision', 'fp32', '--modalities', 'depth']
    assert main([*words, '--region', str(NEAR), '--mcap']) == 0
    rows = pq.read_table(out).to_pylist()
    heard = {(row['predicate'], row['modality']) for row in rows} - {
        ('near', 'fused'),
        ('whole', 'fused'),
    }
    assert heard == {('near', 'depth@near'), ('whole', 'depth')}
    assert main([*words, '--region', 'cup=image:0,0,1,1']) == 2
    assert 'image is not read' in capsys.readouterr().err
    assert main(words) == 2
    assert "unknown region 'depth@near'" in capsys.readouterr().err


def test_a_part_follows_the_boxes_of_a_bag(binder: Binder, drawn: Any, tmp_path: Path) -> None:
    boxes = {1: (0, 0, 16, 16), 2: (8, 4, 20, 12), 5: (0, 0, 0, 0)}
    bag = Path(drawn.write(tmp_path / 'bag', MOMENTS, boxes=boxes))
    cup = parse_region('cup=depth:box:/tracker/cup')
    found, report = embedded(binder, bag, tmp_path / 'store', cup)
    assert report.problems == []
    part = found.modality == 'depth@cup'
    # A moment lasts half a second, as long as a box counts.
    assert found.invalid_reason[part].tolist() == [
        '', '', '', 'its box is 1.0 s old', 'the box is empty',
    ]  # fmt: skip
    messages = [m.message for m in read_bag(bag, topics=['depth/image'])]
    for index, (left, top, width, height) in ((0, boxes[1]), (1, boxes[2])):
        array = decode_image(messages[index], modality='depth').array
        crop = array[top : top + height, left : left + width]
        expected = binder.embed(depth=crop)['depth'][0]
        np.testing.assert_allclose(found.vectors[part][index], expected, atol=1e-5)


def test_a_missing_topic_of_a_region_is_reported(
    binder: Binder, bag: Path, tmp_path: Path
) -> None:
    cup = parse_region('cup=depth:box:/tracker/cup')
    found, report = embedded(binder, bag, tmp_path / 'store', cup)
    assert 'no topic tracker/cup of the region cup=depth:box:/tracker/cup' in report.problems[0]
    assert set(found.invalid_reason[found.modality == 'depth@cup']) == {'no box yet'}
