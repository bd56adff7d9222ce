"""A service call loads no model set from a path that nobody allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.errors import ModelSetError
from encoders.model_sets.manifest import MANIFEST, SHIPPED
from lb_ros.nodes.confinement import check_confined

LIMIT_S = 30.0


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


@pytest.mark.ros
def test_an_encoder_in_a_process_of_its_own_refuses_as_well(
    folders: Path, tiny_model_set: Path, ros_domain: int
) -> None:
    rclpy = pytest.importorskip('rclpy')
    from lb_ros.nodes.process import _build
    from lb_ros.srv import LoadModel

    words = ['-p', f'model:={tiny_model_set}', '-p', "model_root:=''"]
    rclpy.init(args=['--ros-args', *words])
    started = _build('depth_encoder')
    node = started.leader
    try:
        node.trigger_configure()
        client = node.create_client(LoadModel, 'depth_encoder/load_model')
        answer = client.call_async(LoadModel.Request(model=str(folders / 'secret' / 'other')))
        rclpy.spin_until_future_complete(node, answer, timeout_sec=LIMIT_S)
        assert not answer.result().success
        assert 'the parameter model_root names another one' in answer.result().message
    finally:
        started.model.close()
        node.destroy_node()
        rclpy.try_shutdown()
