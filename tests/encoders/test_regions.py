"""Names of parts of views, and how parameters and options write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.regions import (
    SEEN,
    Crop,
    Region,
    distinct,
    is_region,
    modality_of,
    parse_region,
    parse_regions,
    topic_of,
)

GRIPPER = Region('gripper', 'depth', Crop(0.3, 0.2, 0.4, 0.5))


def test_a_region_is_a_sensor_of_its_modality() -> None:
    assert parse_region('gripper=depth:0.3,0.2,0.4,0.5') == GRIPPER
    assert GRIPPER.sensor == 'depth@gripper'
    assert (modality_of('depth@gripper'), modality_of('depth')) == ('depth', 'depth')
    assert (topic_of('depth@gripper'), topic_of('depth')) == ('depth/gripper', 'depth')
    assert [is_region(n) for n in ('depth@gripper', 'depth', 'audio@left', 'depth@')] == [
        True, False, False, False,
    ]  # fmt: skip


def test_several_regions_are_separated_by_spaces_or_semicolons() -> None:
    cup = 'cup=image:0,0,1,1'
    for text in (f'{GRIPPER} {cup}', f'{GRIPPER};{cup}', f' {GRIPPER} ;\n {cup} ; '):
        assert [region.sensor for region in parse_regions(text)] == ['depth@gripper', 'image@cup']
    assert parse_regions('') == ()


def test_a_region_may_follow_a_topic() -> None:
    cup = parse_region('cup=depth:box:/tracker/cup')
    assert (cup.crop, cup.follows, cup.topic) == (None, 'box', '/tracker/cup')
    assert str(cup) == 'cup=depth:box:/tracker/cup' and cup.sensor == 'depth@cup'
    assert parse_region('cup=image:mask:masks/cup').follows == 'mask'


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        ('gripper', 'expected NAME=MODALITY:LEFT,TOP,WIDTH,HEIGHT'),
        ('gripper=depth:0.3,0.2,0.4', 'expected NAME='),
        ('gripper=depth:a,b,c,d', 'expected NAME='),
        ('gripper=depth:circle:topic', 'NAME=MODALITY:box:TOPIC'),
        ('gripper=depth:box:', 'expected NAME='),
        ('gripper=depth:box:no topic', 'expected NAME='),
        ('grip per=depth:0,0,1,1', "'grip per' is no name"),
        ('x@y=depth:0,0,1,1', "'x@y' is no name"),
        ('gripper=audio:0,0,1,1', 'expected one of image, depth'),
        ('gripper=depth:60,40,80,80', 'divide pixels by the size of the image'),
        ('gripper=depth:0.5,0,0.6,1', 'beyond the edge'),
        ('gripper=depth:0,0,0,1', 'width must be above 0'),
        ('gripper=depth:nan,0,1,1', 'left must be a share'),
    ],
)
def test_a_malformed_region_is_an_error_that_names_it(text: str, part: str) -> None:
    with pytest.raises(ValueError, match='region') as error:
        parse_region(text)
    assert part in str(error.value) and repr(text) in str(error.value)


def test_two_regions_of_the_same_name_are_refused() -> None:
    with pytest.raises(ValueError, match='two regions are named depth@gripper'):
        distinct([GRIPPER, GRIPPER])


SHARES = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)


@given(st.sampled_from(SEEN), SHARES, SHARES, SHARES, SHARES)
def test_a_region_is_read_as_it_is_written(
    modality: str, left: float, top: float, width: float, height: float
) -> None:
    crop = Crop(left, top, min(width, 1 - left), min(height, 1 - top))
    found = parse_region(str(Region('part', modality, crop)))
    for name in crop.__slots__:
        assert getattr(found.crop, name) == pytest.approx(getattr(crop, name), abs=1e-6)
