"""Build a stand-in for an Ubuntu machine with ROS 2 Jazzy from apt, out of wheels.

python -m tests.apt_ros.stand_in FOLDER --python 3.12 [--upstream CHECKOUTS]

`FOLDER/usr` acts as `/usr`: a copy of an interpreter, marked as externally managed, with the
Python packages of Ubuntu 24.04. `FOLDER/ros` acts as `/opt/ros/jazzy`. Only environment variables
point at it; `. FOLDER/ros/setup.bash` sets them, as on the real machine.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements' / 'ros.txt'
PROGRAMS = Path(__file__).with_name('programs')
EXTENSION = Path(__file__).with_name('cv_bridge_stand_in.c')
COMPLETE = 'complete.json'
STEP_S = 900.0
KEEP_S = 30 * 86400.0  # after its last use; each takes half a gigabyte
# Versions of Ubuntu 24.04 where they matter: NumPy's binary interface and what is compiled for it,
# empy's and setuptools' API.
SYSTEM = (
    'argcomplete', 'catkin_pkg', 'cmake<4', 'colcon-common-extensions', 'empy==3.3.4', 'lark',
    'numpy==1.26.4', 'opencv-python-headless==4.6.0.66', 'osrf-pycommon', 'packaging', 'psutil',
    'pybind11', 'pytest<9', 'PyYAML', 'rosdep', 'scipy==1.11.4', 'setuptools==68.1.2', 'wheel',
)  # fmt: skip
# Folders in CHECKOUTS: repositories of upstream, which are not on PyPI.
UPSTREAM = (
    'launch/launch', 'launch/launch_xml', 'launch/launch_yaml',
    'launch_ros/launch_ros', 'launch_ros/ros2launch',
    'ros2cli/ros2cli', 'ros2cli/ros2run', 'ros2cli/ros2pkg', 'ros2cli/ros2node',
    'ros2cli/ros2topic', 'ros2cli/ros2service', 'ros2cli/ros2lifecycle', 'ros2cli/ros2param',
)  # fmt: skip
# launch_ros imports it to load components, which no launch file of this package does.
COMPOSITION = """class LoadNode:
    class Request:
        pass
"""
MANAGED = """[externally-managed]
Error=To install Python packages system-wide, try apt install python3-xyz.
"""
SETUP = """export ROS_DISTRO={distro} ROS_VERSION=2 ROS_PYTHON_VERSION=3
export PATH={root}/ros/bin:{root}/usr/bin:$PATH
export PYTHONPATH={packages}${{PYTHONPATH:+:$PYTHONPATH}}
export AMENT_PREFIX_PATH={root}/ros CMAKE_PREFIX_PATH={root}/ros
export LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
# The wheels' own library search would hide a wrong LD_LIBRARY_PATH.
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
"""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A machine with a ROS 2 from apt, in a folder.

    Attributes:
        root: Holds `usr`, `ros` and, once it is complete, `COMPLETE`.
        version: Python version, for example `3.12`.
    """

    root: Path
    version: str

    @property
    def python(self) -> Path:
        """The interpreter that acts as `/usr/bin/python3`."""
        return self.root / 'usr' / 'bin' / 'python3'

    @property
    def ros(self) -> Path:
        """The prefix that acts as `/opt/ros/jazzy`."""
        return self.root / 'ros'

    @property
    def has_launch(self) -> bool:
        """Whether upstream's `ros2` with its `launch` is installed in it."""
        return (self.ros / 'bin' / 'ros2').exists()

    def environment(self, home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A login shell's variables before ROS is sourced; nothing else of this process.

        Args:
            home: The user's home folder.
            extra: Further variables.
        """
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(('PIP_', 'OPENBLAS_', 'ROS_DOMAIN', 'ROS_AUTOMATIC', 'SSL_'))
            or name.lower().endswith('_proxy')
        }
        path = f'{PROGRAMS}:{self.root}/usr/bin:/usr/local/bin:/usr/bin:/bin'
        asked = {'HOME': str(home), 'LANG': 'C.UTF-8', 'PATH': path, 'TERM': 'dumb'}
        return {**passed, **asked, **(extra or {})}


def find_python(version: str) -> Path:
    """An interpreter of that version that can be copied.

    Args:
        version: For example `3.12`.

    Raises:
        LookupError: There is none; the message says where it was looked for.
    """
    variable = f'LB_APT_ROS_PYTHON_{version.replace(".", "")}'
    for candidate in _candidates(version, variable):
        if candidate.exists() and _can_be_copied(candidate, version):
            return candidate
    raise LookupError(
        f'no Python {version} that can be copied (with headers, pip and the standard layout; '
        f"Debian's has another): install one with pyenv, or set {variable} to its path"
    )


def _candidates(version: str, variable: str) -> Iterator[Path]:
    if named := os.environ.get(variable):
        yield Path(named)
        return
    name = f'python{version}'
    yield Path(sys.base_prefix) / 'bin' / name
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    yield from sorted(pyenv.glob(f'versions/{version}.*/bin/{name}'))
    if found := shutil.which(name):
        yield Path(found)


def _can_be_copied(python: Path, version: str) -> bool:
    probe = (
        'import ensurepip, os, sys, sysconfig, venv; '
        'assert sysconfig.get_default_scheme() == "posix_prefix"; '
        'assert os.path.exists(sysconfig.get_path("include") + "/Python.h"); '
        'print(".".join(map(str, sys.version_info[:2])))'
    )
    done = subprocess.run([python, '-I', '-c', probe], capture_output=True, text=True, timeout=60)
    return done.returncode == 0 and done.stdout.strip() == version


def build(root: Path, python: Path, upstream: Path | None = None) -> StandIn:
    """Build it, or return it where it is complete.

    Args:
        root: A folder that need not exist; what an interrupted build left there is removed.
        python: An interpreter of `find_python`.
        upstream: A folder with checkouts of `launch`, `launch_ros` and `ros2cli` (branch jazzy).

    Raises:
        RuntimeError: A step failed; the message ends with its output.
    """
    version = python.resolve().name.removeprefix('python')
    made = StandIn(root, version)
    complete = root / COMPLETE
    if complete.exists():
        return made
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    _copy_interpreter(python, root / 'usr', version)
    _run([made.python, '-m', 'ensurepip', '--default-pip'])
    _pip(made, root / 'usr', SYSTEM)
    pinned = re.findall(r'^ros-\S+==\S+', REQUIREMENTS.read_text(), re.MULTILINE)
    _pip(made, made.ros, ('--no-deps', *pinned))
    _correct_include_paths(made)
    _compile_extension(made)
    if upstream is not None:
        _install_upstream(made, upstream)
    _write_setup(made)
    (root / 'usr' / 'lib' / f'python{version}' / 'EXTERNALLY-MANAGED').write_text(MANAGED)
    complete.write_text(json.dumps({'python': str(python), 'upstream': str(upstream or '')}))
    return made


def cached(version: str, upstream: Path | None) -> StandIn:
    """Build it once for all runs, in the user's cache.

    Raises:
        LookupError: There is no such interpreter.
        RuntimeError: A step failed.
    """
    python = find_python(version)
    key = hashlib.sha256(f'{python.resolve()} {upstream}'.encode())
    for file in (REQUIREMENTS, Path(__file__), EXTENSION):
        key.update(file.read_bytes())
    base = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache'))
    folder = _folder(base / 'lb_ros' / 'apt_ros') / f'{version}-{key.hexdigest()[:12]}'
    with open(f'{folder}.lock', 'w') as lock:  # held by another run that builds the same
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = build(folder, python, upstream)
    (folder / COMPLETE).touch()
    for other in folder.parent.glob(f'*/{COMPLETE}'):
        if time.time() - other.stat().st_mtime > KEEP_S:
            shutil.rmtree(other.parent)
    return made


def _copy_interpreter(python: Path, usr: Path, version: str) -> None:
    prefix = python.resolve().parents[1]
    name = f'python{version}'
    shutil.copy(python.resolve(), _folder(usr / 'bin') / name)
    for alias in ('python3', 'python'):
        (usr / 'bin' / alias).symlink_to(name)
    shutil.copytree(prefix / 'include' / name, usr / 'include' / name)
    shutil.copytree(
        prefix / 'lib' / name,
        usr / 'lib' / name,
        ignore=shutil.ignore_patterns('site-packages', 'test', 'idlelib', '__pycache__', '*.a'),
    )
    for library in (prefix / 'lib').glob('libpython*'):
        shutil.copy(library, usr / 'lib', follow_symlinks=False)


def _pip(made: StandIn, prefix: Path, packages: tuple[str, ...]) -> None:
    # The wheels of ROS are for `prefix`, yet must not be removed from `usr` where pip finds them.
    options = ('install', '--quiet', '--retries', '5', '--ignore-installed', '--prefix', prefix)
    _run([made.python, '-m', 'pip', *options, *packages])


def _include_paths(made: StandIn) -> tuple[str, str]:
    probe = 'import numpy, sysconfig; print(sysconfig.get_path("include"), numpy.get_include())'
    include, numpy_include = _run([made.python, '-c', probe]).split()
    return include, numpy_include


def _compile_extension(made: StandIn) -> None:
    folders = [f'-I{path}' for path in _include_paths(made)]
    output = _packages(made) / f'{EXTENSION.stem}.so'
    _run(['cc', '-shared', '-fPIC', *folders, EXTENSION, '-o', output])


def _correct_include_paths(made: StandIn) -> None:
    """Replace the two folders of the build container that the wheels' CMake files name."""
    include, numpy_include = _include_paths(made)
    for file in (made.ros / 'share').rglob('*.cmake'):
        text = file.read_text()
        if '/opt/python/cp3' not in text:
            continue
        text = re.sub(
            r'/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_core/include',
            numpy_include,
            text,
        )
        text = re.sub(r'/opt/python/cp3\d+-cp3\d+/include/python3\.\d+', include, text)
        file.write_text(text)


def _install_upstream(made: StandIn, upstream: Path) -> None:
    # Built from copies: setuptools writes into the folder that it builds from.
    sources = made.root / 'upstream'
    for name in UPSTREAM:
        shutil.copytree(upstream / name, sources / name)
    _pip(
        made,
        made.ros,
        ('--no-deps', '--no-build-isolation', *(str(sources / name) for name in UPSTREAM)),
    )
    service = _folder(_packages(made) / 'composition_interfaces' / 'srv')
    (service.parent / '__init__.py').touch()
    (service / '__init__.py').write_text(COMPOSITION)
    shutil.rmtree(sources)


def _write_setup(made: StandIn) -> None:
    libraries = [made.ros / 'lib', *sorted(_packages(made).glob('*.libs'))]
    for name in ('setup.bash', 'setup.sh', 'local_setup.bash'):
        (made.ros / name).write_text(
            SETUP.format(
                distro='jazzy',
                root=made.root,
                packages=_packages(made),
                libraries=':'.join(map(str, libraries)),
            )
        )


def _packages(made: StandIn) -> Path:
    return made.ros / 'lib' / f'python{made.version}' / 'site-packages'


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _run(command: list[str | Path]) -> str:
    unset = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'LD_LIBRARY_PATH')
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_S, env=environment)
    if done.returncode:
        words = ' '.join(map(str, command))[:200]
        raise RuntimeError(f'{words}: exit status {done.returncode}\n{done.stderr[-4000:]}')
    return done.stdout


def main() -> None:
    """Build one by hand and say how to use it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument('--python', default='3.12', help='version, for example 3.12')
    parser.add_argument('--upstream', type=Path, help='checkouts of launch, launch_ros, ros2cli')
    args = parser.parse_args()
    made = build(args.folder.absolute(), find_python(args.python), args.upstream)
    print(f'. {made.ros}/setup.bash')


if __name__ == '__main__':
    main()
