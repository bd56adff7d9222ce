"""A service call loads no model set from a path that nobody allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.errors import ModelSetError
from encoders.model_sets.places import MANIFEST, SHIPPED
from lb_ros.nodes.confinement import check_confined


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets in four places, of which `store` holds the pulled ones."""
    for name in ('mine/first', 'mine/second', 'store/pulled', 'root/deep/down', 'secret/other'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MANIFEST).touch()
    (tmp_path / 'secret' / 'weights.bin').touch()
    monkeypatch.setenv('LB_ROS_MODELS', str(tmp_path / 'store'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    'model',
    ['lb-mini', 'pulled', 'no-such-name', 'openclip:ViT-B-32/openai', str(SHIPPED / 'lb-mini'),
     '{}/mine/first', '{}/mine/second', '{}/store/pulled', '{}/root/deep/down', 'root/deep/down'],
)  # fmt: skip
def test_names_and_folders_that_were_allowed_may_be_loaded(folders: Path, model: str) -> None:
    check_confined(
        model.format(folders), configured=f'{folders}/mine/first', root=str(folders / 'root')
    )


@pytest.mark.parametrize(
    'model',
    ['{}/secret/other', 'secret/other', 'secret', '{}/root/../secret/other', '../pulled', '..',
     '/', '', '{}/root/deep/down', 'openclip:ViT-B-32/{}/secret/weights.bin',
     'openclip:ViT-B-32/secret/weights.bin', '{}/store/../secret/other'],
)  # fmt: skip
def test_anything_else_is_refused_with_the_way_to_allow_it(folders: Path, model: str) -> None:
    with pytest.raises(ModelSetError, match='model_root'):
        check_confined(model.format(folders), configured='lb-mini', root='')


def test_the_configured_set_may_always_be_loaded_again(folders: Path) -> None:
    check_confined('secret/other', configured='secret/other', root='')
