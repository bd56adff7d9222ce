"""Arguments of a node's process are checked and typed before ROS reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lb_ros.parameter_file import read_parameter_file, typed_value
from lb_ros.ros_arguments import doubts, read_arguments, refuse_others, typed_arguments

LIMIT_S = 120.0
NODES = ('bringup', 'depth_encoder', 'predicates', 'microphone')


def given(*words: str, node: str = 'bringup') -> list[str]:
    """The words for ROS that follow from words of a user."""
    with typed_arguments(read_arguments(node, words)) as typed:
        return typed


def file_for(tmp_path: Path, text: str) -> Path:
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (('--ros-args', '--params_file', 'x'), 'is --params-file meant'),
        (('--ros-args', '--params-file=x'), 'write --params-file x'),
        (('--ros-args', '--log-levl', 'info'), 'is --log-level meant'),
        (('--ros-args', '--log-level', 'loud'), 'expected one of debug'),
        (('--ros-args', 'model:=x'), 'write -p model:=x for a parameter'),
        (('--ros-args', '-p'), '-p needs a value'),
        (('--ros-args', '-p', 'model=lb-mini'), 'for example -p model:=lb-mini'),
        (('--ros-args', '-p', 'model'), 'expected NAME:=VALUE'),
        (('--ros-args', '-p', 'model:='), 'has no value'),
        (('--ros-args', '-p', 'brinup:model:=x'), 'is bringup:model meant'),
        (('--ros-args', '-r', 'depth/image=/zed'), 'expected FROM:=TO'),
        (('--ros-args', '-r', '__namespace:=/a'), 'unknown name __namespace'),
        (
            ('--ros-args', '-r', '__ns:=/a', '-p', 'bringup:model:=x'),
            'only /a/bringup.*write -p model:=x',
        ),
        (('--ros-arg', '-p', 'model:=x'), 'is --ros-args meant'),
        (('model:=x',), 'write --ros-args -p model:=x'),
        (('--ros-args', '--', 'depth'), "unknown argument 'depth'"),
    ],
)
def test_a_wrong_argument_is_named_with_the_nearest_one(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        refuse_others(read_arguments('bringup', words).others)


def test_arguments_of_ros_launch_pass() -> None:
    words = ['--ros-args', '--log-level', 'info', '--ros-args', '-r', '__ns:=/a']
    assert given(*words, '--enable-stdout-logs', '-e', '/') == [
        '--ros-args', '--log-level', 'info', '--remap', '__ns:=/a', '--enable-stdout-logs',
        '--enclave', '/', '--',
    ]  # fmt: skip
    refuse_others(['depth/image:=/zed/depth'])  # a renaming of before --ros-args


@pytest.mark.parametrize(
    ('rule', 'typed'),
    [
        ('max_rate_hz:=5', 'max_rate_hz:=5.0'),
        ('max_rate_hz:=5.5', 'max_rate_hz:=5.5'),
        ('bringup:max_rate_hz:=-3', 'bringup:max_rate_hz:=-3.0'),
        ('threads:=5', 'threads:=5'),
        ('model:=123E5', "model:='123E5'"),
        ('model:=12', "model:='12'"),
        ('model:=yes', "model:='yes'"),
        ('model:=lb-mini', 'model:=lb-mini'),
        ("model:='12'", "model:='12'"),
        ('model:=[a]', 'model:=[a]'),
        ('modalities:=depth', "modalities:=['depth']"),
        ('modalities:=depth,audio', "modalities:=['depth', 'audio']"),
        ('modalities:=[depth, 1]', "modalities:=['depth', '1']"),
        ('autostart:=false', 'autostart:=false'),
        ('other:=5', 'other:=5'),
        ('other:=[', 'other:=['),
    ],
)
def test_a_value_gets_the_type_of_its_parameter(rule: str, typed: str) -> None:
    assert given('--ros-args', '-p', rule)[2] == typed


def test_a_file_is_typed_only_for_own_nodes(tmp_path: Path) -> None:
    text = """# mine
/**:
  ros__parameters: {model: 123E5, max_rate_hz: 5, threads: 2}
/**/microphone:
  ros__parameters:
    device: 5  # the fifth
navigator: {ros__parameters: {max_age_ms: 3}}
robot1: {microphone: {ros__parameters: {modalities: depth}}}
"""
    file = read_parameter_file(file_for(tmp_path, text))
    typed = file.typed(('/robot1/microphone',))
    assert typed == (
        text.replace('123E5', "'123E5'")
        .replace('max_rate_hz: 5', 'max_rate_hz: 5.0')
        .replace('device: 5 ', "device: '5' ")
        .replace('modalities: depth', "modalities: ['depth']")
    )
    assert yaml.safe_load(typed)['/**']['ros__parameters']['max_rate_hz'] == 5.0


def test_a_file_without_wrong_types_is_given_as_it_is(tmp_path: Path) -> None:
    path = file_for(tmp_path, '/**: {ros__parameters: {max_rate_hz: 5.0}}')
    assert given('--ros-args', '--params-file', str(path))[2] == str(path)


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (None, 'there is no file .*robot.yaml.*correct the path'),
        ('', 'robot.yaml is empty; expected sections'),
        ('# nothing\n', 'is empty'),
        ('a: [', 'robot.yaml is not valid YAML: .*line 1'),
        ('model: lb-mini', "robot.yaml, line 1: 'model' is outside ros__parameters"),
        ('- a', 'line 1: has no ros__parameters'),
        ('{}', 'has no ros__parameters'),
        ('/**:\n  ros__parameters:\n', 'line 2: ros__parameters is no mapping'),
        (b'\xff\xfe\x00', 'cannot be read: it is no text'),
    ],
)
def test_a_file_that_ros_cannot_use_is_named(
    tmp_path: Path, text: str | bytes | None, says: str
) -> None:
    path = tmp_path / 'robot.yaml'
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f'argument --params-file: .*{says}'):
        read_arguments('bringup', ['--ros-args', '--params-file', str(path)])


@pytest.mark.parametrize(
    ('text', 'namespace', 'says'),
    [
        ('brinup: {ros__parameters: {a: 1}}', '/', ['no node is named brinup; is bringup meant?']),
        ('bringup: {ros__parameters: {a: 1}}', '/a', ['is /**/bringup meant?']),
        ('bringup: {ros__parameters: {a: 1}}', '/', []),
        ('/*/bringup: {ros__parameters: {a: 1}}', '/a', []),
        ('/**/bringup: {ros__parameters: {a: 1}}', '/', []),
        # A file for all robots and all nodes.
        (
            '/a/bringup: {ros__parameters: {a: 1}}\n/b/bringup: {ros__parameters: {a: 1}}\n'
            'planner_server: {ros__parameters: {a: 1}}\nmicrophone: {ros__parameters: {a: 1}}',
            '/a',
            [],
        ),
    ],
)
def test_a_section_that_no_node_reads_is_reported(
    tmp_path: Path, text: str, namespace: str, says: list[str]
) -> None:
    words = ['--params-file', str(file_for(tmp_path, text)), '-r', f'__ns:={namespace}']
    found = doubts(read_arguments('bringup', ['--ros-args', *words]))
    assert [line for line, part in zip(found, says, strict=True) if part not in line] == []


def test_a_renamed_node_has_its_own_section(tmp_path: Path) -> None:
    path = file_for(tmp_path, 'eye: {ros__parameters: {max_rate_hz: 5}}')
    words = ['--ros-args', '-r', '__node:=eye', '--params-file', str(path)]
    arguments = read_arguments('depth_encoder', words)
    assert (arguments.full_names, doubts(arguments)) == (('/eye',), [])


def test_a_value_without_quotes_is_a_string() -> None:
    assert typed_value('infrared_kind', 'thermal') == 'thermal'


@pytest.mark.ros
@pytest.mark.parametrize('node', NODES)
def test_a_process_with_a_wrong_argument_ends_with_one_line(ros_domain: int, node: str) -> None:
    command = [sys.executable, '-m', 'lb_ros.start', node]
    done = subprocess.run(
        [*command, '--ros-args', '--params-file', '/nowhere.yaml'],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == (
        f"{node}: argument --params-file: there is no file '/nowhere.yaml'; correct the path, or "
        'leave the argument out for the shipped config/parameters.yaml\n'
    )


@pytest.mark.ros
@pytest.mark.parametrize('node', ['bringup', 'depth_encoder'])
def test_a_process_reads_values_as_the_types_of_its_parameters(
    ros_domain: int, tmp_path: Path, node: str
) -> None:
    path = file_for(tmp_path, '/**: {ros__parameters: {model: 123E5, modalities: depth}}')
    command = [sys.executable, '-m', 'lb_ros.start', node, '--ros-args', '-p', 'max_rate_hz:=5']
    done = subprocess.run(
        [*command, '--params-file', str(path)], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 1
    assert "no model set '123E5'" in done.stderr.splitlines()[-1]
