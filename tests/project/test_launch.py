"""What launch files start, checked without `launch` and, where it is installed, with it."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from encoders import LIVE, MODALITIES, STANDARD
from encoders.preprocess.mini.joints import ARM, GRIPPER
from encoders.shipped import shipped
from lb_ros.launching import (
    ARGUMENTS,
    ARM_SETTINGS,
    ARMS,
    CAMERAS,
    ENCODERS,
    IMUS,
    INFRAREDS,
    REPLACING,
    plan,
    profile_to_set,
)
from lb_ros.parameter_table import RECORDS, SensorParameters
from scripts.write_parameters import files

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
PARAMETERS = ROOT / 'config' / 'parameters.yaml'
NEEDED = {
    'modalities', 'model', 'params_file', 'predicates', 'composed', 'namespace', 'use_sim_time',
    'device', 'log_level', 'respawn', 'autostart',
}  # fmt: skip


def test_there_is_a_launch_file_for_everything() -> None:
    names = {path.name.removesuffix('.launch.py') for path in FILES}
    assert names == {'bringup', 'demo', 'replay', *ENCODERS}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_a_launch_file_has_its_entry_and_an_example(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert 'generate_launch_description' in functions
    assert f'ros2 launch lb_ros {path.name}' in (ast.get_docstring(tree) or '')


def test_every_argument_is_described() -> None:
    assert {argument.name for argument in ARGUMENTS} >= NEEDED
    for argument in ARGUMENTS:
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


def test_one_process_is_the_default() -> None:
    (process,) = plan({})
    assert process.executable == 'bringup'
    assert process.parameters == {'use_sim_time': False, 'autostart': True}


def test_without_composition_each_node_has_a_process() -> None:
    apart = plan({'composed': 'false'})
    standard = [f'{MODALITIES[name].sensor}_encoder' for name in STANDARD]
    assert [p.executable for p in apart] == [*standard, 'predicates']
    some = plan({'composed': 'false', 'modalities': 'depth,audio', 'microphone': 'true'})
    names = ['depth_encoder', 'microphone_encoder', 'predicates', 'microphone']
    assert [p.executable for p in some] == names
    assert set(some[-1].parameters) == {'use_sim_time', 'autostart'}


def test_the_modalities_apart_are_those_of_the_parameters(tmp_path: Path) -> None:
    file = tmp_path / 'mine.yaml'
    file.write_text('/**: {ros__parameters: {modalities: [infrared]}}')
    found = plan({'composed': 'false', 'params_file': str(file)})
    assert [p.executable for p in found] == ['infrared_encoder', 'predicates']
    file.write_text('/**: {ros__parameters: {modalities: depth}}')  # as bringup accepts it
    found = plan({'composed': 'false', 'params_file': str(file)})
    assert [p.executable for p in found] == ['depth_encoder', 'predicates']


def test_presets_name_topics_and_lists_replace_them() -> None:
    parameters = plan({'camera': 'realsense', 'infrared': 'boson', 'camera_inputs': 'a, b'})[0]
    assert parameters.parameters['camera_inputs'] == ['a', 'b']
    assert parameters.parameters['video_inputs'] == [CAMERAS['realsense']['camera']]
    assert parameters.parameters['depth_inputs'] == [CAMERAS['realsense']['depth']]
    assert parameters.parameters['infrared_inputs'] == [INFRAREDS['boson']['infrared']]
    for topics in (*CAMERAS.values(), *INFRAREDS.values()):
        assert all(re.fullmatch(r'[a-z]\w*(/\w+)*', topic) for topic in topics.values())


def test_infrared_settings_follow_the_preset_and_the_arguments() -> None:
    settings = {name for name in REPLACING if not name.endswith('_inputs')}
    assert not set(plan({'infrared': 'boson'})[0].parameters) & settings
    optris = plan({'infrared': 'optris'})[0].parameters
    assert (optris['infrared_kelvin_per_count'], optris['infrared_kelvin_at_zero']) == (
        0.1,
        173.15,
    )
    assert plan({'infrared': 'realsense_nir'})[0].parameters['infrared_kind'] == 'near_infrared'
    given = {
        'infrared': 'optris',
        'infrared_kelvin_per_count': '0.04',
        'infrared_telemetry_rows': '2',
        'transport': 'raw',
        'composed': 'false',
    }
    for process in plan(given):
        assert process.parameters['infrared_kelvin_per_count'] == 0.04
        assert process.parameters['infrared_kelvin_at_zero'] == 173.15
        assert process.parameters['infrared_telemetry_rows'] == 2
        assert process.parameters['transport'] == 'raw'


def test_an_arm_brings_topics_names_and_sign_which_arguments_replace() -> None:
    given = {'arm': 'franka', 'imu': 'realsense', 'joints_inputs': 'arm, hand'}
    franka = plan(given)[0].parameters
    assert franka['wrench_inputs'] == [ARMS['franka']['wrench']]
    assert franka['joints_inputs'] == ['arm', 'hand']
    assert franka['imu_inputs'] == [IMUS['realsense']['imu']]
    assert franka['wrench_sign'] == -1
    assert plan({'arm': 'franka', 'wrench_sign': '1'})[0].parameters['wrench_sign'] == 1
    assert 'wrench_sign' not in plan({'arm': 'ros2_control'})[0].parameters
    for settings in ARM_SETTINGS.values():
        known = [pair.partition('=')[0] for pair in settings['joints_names'].split(', ')]
        assert set(known) <= {*ARM, GRIPPER}
    for topics in (*ARMS.values(), *IMUS.values()):
        assert all(re.fullmatch(r'[a-z]\w*(/\w+)*', topic) for topic in topics.values())


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        (
            {'infrared_low_count': 'few'},
            "argument infrared_low_count: 'few' is not a whole number",
        ),
        ({'infrared_kelvin_at_zero': 'cold'}, "'cold' is not a number"),
        ({'transport': 'pigeon'}, "argument transport: 'pigeon'"),
        ({'camera': 'eyes'}, "argument camera: 'eyes'"),
        ({'modalities': 'smell'}, "argument modalities: unknown 'smell'"),
        ({'nodes': 'kitchen'}, "argument nodes: unknown 'kitchen'"),
        ({'composed': 'maybe'}, "argument composed: 'maybe'"),
        ({'colour': 'red'}, "unknown argument 'colour'"),
        ({'composed': 'false', 'params_file': '/nowhere.yaml'}, 'argument params_file'),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plan(given)


@pytest.mark.parametrize('composed', ['true', 'false'])
@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (None, "argument params_file: there is no file '.*mine.yaml'; correct the path"),
        ('', 'argument params_file: .*mine.yaml is empty'),
        ('a: [', 'argument params_file: .*mine.yaml is not valid YAML'),
        ('modalities: [depth]', "argument params_file: .*'modalities' is outside ros__parameters"),
    ],
)
def test_an_unusable_params_file_is_an_error_in_either_mode(
    tmp_path: Path, composed: str, text: str | None, says: str
) -> None:
    file = tmp_path / 'mine.yaml'
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=says):
        plan({'composed': composed, 'params_file': str(file)})


def test_the_dds_profile_of_the_user_is_kept() -> None:
    assert profile_to_set('shipped', {}).endswith('dds_profile.xml')
    assert profile_to_set('shipped', {'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml'}) == ''
    assert profile_to_set('shipped', {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}) == ''
    assert profile_to_set('shipped', {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}) == ''
    assert profile_to_set('shipped', {'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}) != ''
    assert profile_to_set('none', {}) == ''
    with pytest.raises(ValueError, match='dds_profile'):
        profile_to_set('/nowhere.xml', {})


def test_the_files_that_follow_from_the_table_are_up_to_date() -> None:
    for path, text in files().items():
        assert path.read_text() == text, 'run scripts/write_parameters.py'


def test_the_table_has_the_defaults_and_choices_of_what_reads_them() -> None:
    pytest.importorskip('rclpy')
    from encoders import AudioOptions, ImageOptions
    from encoders.decode.options import INFRARED_KINDS
    from encoders.decode.streams import DEFAULT_CLIP_S
    from encoders.vision.choices import COMPILATIONS, PRECISIONS
    from lb_ros.engine.health import Expectation
    from lb_ros.ros.input_parameters import input_parameters

    found = input_parameters(SensorParameters())
    assert (found.images, found.sound) == (ImageOptions(), AudioOptions())
    assert (found.expectation, found.video_window_s) == (Expectation(), DEFAULT_CLIP_S)
    assert set(RECORDS['precision'].choices) == set(PRECISIONS)
    assert set(RECORDS['compilation'].choices) == set(COMPILATIONS)
    assert set(RECORDS['infrared_kind'].choices) == set(INFRARED_KINDS)


def comments() -> dict[str, str]:
    """What is said above every parameter; those of one kind for several sensors share it."""
    comment, kind, found = '', '', {}
    for line in PARAMETERS.read_text().split('ros__parameters:\n')[1].splitlines():
        if line.lstrip().startswith('#'):
            comment, kind = ('' if kind else comment) + line, ''
        elif match := re.match(r' {4}(\w+):', line):
            own = match[1].partition('_')[2]
            found[match[1]] = comment if kind in ('', own) else ''
            kind = own or match[1]
    return found


def test_every_parameter_is_commented() -> None:
    assert all(comments().values()), comments()


def test_ranges_and_moments_in_the_file_are_those_of_the_code() -> None:
    found = comments()
    assert list(found) == list(RECORDS)
    for name, text in found.items():
        record = RECORDS[name]
        assert ('[live]' in text) == (record.changes == 'live'), name
        assert ('[configure]' in text) == (record.changes == 'configure'), name
        if record.limits is not None:
            low, high = record.limits
            assert f'{low:g}..{high:g}' in text, name


NEEDS_LAUNCH = pytest.mark.skipif(
    importlib.util.find_spec('launch_ros') is None,
    reason='launch is not installed: the structural tests above ran instead of the real one',
)


def declared(path: Path) -> dict[str, Any]:
    """The arguments that the real launch finds in a file and in those it includes, by name."""
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext

    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchContext())
    found: dict[str, Any] = {}
    for argument in description.get_launch_arguments():
        found.setdefault(argument.name, argument)  # the first declaration sets the default
    return found


@NEEDS_LAUNCH
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_the_real_launch_finds_every_argument(path: Path) -> None:
    assert set(declared(path)) >= NEEDED
    assert len(LIVE) == len(ENCODERS)


@NEEDS_LAUNCH
@pytest.mark.parametrize('encoder', ENCODERS)
def test_a_file_of_an_encoder_starts_its_node(encoder: str) -> None:
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext

    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / f'{encoder}.launch.py'))
    (include,) = source.get_launch_description(LaunchContext()).entities
    assert dict(include.launch_arguments) == {'nodes': encoder}


@NEEDS_LAUNCH
@pytest.mark.parametrize(('name', 'loop'), [('demo', 'true'), ('replay', 'false')])
def test_the_bundled_bag_is_played_by_default(name: str, loop: str) -> None:
    from launch import LaunchContext

    found = declared(ROOT / 'launch' / f'{name}.launch.py')
    defaults = {
        key: ''.join(part.perform(LaunchContext()) for part in found[key].default_value)
        for key in ('bag', 'loop')
    }
    assert (Path(defaults['bag']) / 'metadata.yaml').is_file()
    assert defaults['loop'] == loop


def test_the_bag_of_a_replay_has_a_default() -> None:
    calls = ast.walk(ast.parse((ROOT / 'launch' / 'replay.launch.py').read_text()))
    (bag,) = (
        ast.unparse(keyword.value)
        for call in calls
        if isinstance(call, ast.Call) and call.args and ast.unparse(call.args[0]) == "'bag'"
        for keyword in call.keywords
        if keyword.arg == 'default_value'
    )
    assert bag == "str(shipped('lb_ros/data/demo_bag'))"
    assert (shipped('lb_ros/data/demo_bag') / 'metadata.yaml').is_file()
