"""Wheels of PyTorch that install in no time and no space: they refer to one installed elsewhere.

Each test installs the robot's packages into a new virtual environment, of which PyTorch as PyPI
serves it takes 4 GB. A wheel of here has its name, version and dependencies, but holds one `.pth`
file that puts a shared folder on the path.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tests.apt_ros.stand_in import ROOT, StandIn

NAMES = ('torch', 'torchvision')
STEP_S = 1800.0
KIND = 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
# Only PyTorch on a GPU uses these; all but triton are the same for every Python version.
GPU_ONLY = ('cuda-', 'nvidia-', 'triton')


def make_wheels(machine: StandIn) -> Path:
    """Make them, or return those made before.

    Args:
        machine: Holds the folder and runs the interpreter that PyTorch is for.

    Returns:
        A folder for `PIP_FIND_LINKS`.

    Raises:
        RuntimeError: PyTorch of that Python version can be installed neither from here nor by pip.
    """
    versions = {name: metadata.version(name) for name in NAMES}
    key = '-'.join(versions[name].partition('+')[0] for name in NAMES)
    folder = machine.root.with_name(f'torch-{machine.version}-{key}')
    packages, described = folder / 'packages', folder / 'described'
    if not described.exists():
        shutil.rmtree(folder, ignore_errors=True)
        packages.mkdir(parents=True)
        _install(machine, packages, versions)
        # Outside of the path, or pip finds two versions of the same package.
        moved = folder / 'moving'
        moved.mkdir()
        for path in packages.glob('*.dist-info'):
            path.rename(moved / path.name)
        moved.rename(described)
    wheels = folder / 'wheels'
    wheels.mkdir(exist_ok=True)
    for name in NAMES:
        _refer_to(
            wheels, packages, next(iter(metadata.distributions(name=name, path=[str(described)])))
        )
    for name, version in _gpu_pins():
        _write_wheel(wheels, name, version, [], {})
    return wheels


def _gpu_pins() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / 'requirements').glob('*.txt')):
        for name, version in re.findall(r'^([\w.-]+)==([\w.]+)', file.read_text(), re.MULTILINE):
            if name.startswith(GPU_ONLY):
                yield name, version


def _install(machine: StandIn, packages: Path, versions: dict[str, str]) -> None:
    here = Path(metadata.distribution('torch').locate_file(''))
    own = machine.version == f'{sys.version_info.major}.{sys.version_info.minor}'
    shared = ('torch*', 'functorch', 'nvidia') if own else ('nvidia',)
    for pattern in shared:
        for path in here.glob(pattern):
            (packages / path.name).symlink_to(path)
    if own:
        return
    pinned = [f'{name}=={version.partition("+")[0]}' for name, version in versions.items()]
    options = ('--quiet', '--retries', '5', '--no-deps', '--target', packages)
    done = subprocess.run(
        [machine.python, '-m', 'pip', 'install', *options, *pinned],
        capture_output=True,
        text=True,
        timeout=STEP_S,
    )
    if done.returncode:
        raise RuntimeError(f'{pinned} for Python {machine.version}: {done.stderr[-2000:]}')


def _refer_to(folder: Path, packages: Path, found: metadata.Distribution) -> None:
    needed = [
        requirement
        for requirement in found.requires or ()
        if 'extra ==' not in requirement and not requirement.startswith(GPU_ONLY)
    ]
    name = found.metadata['Name']
    path = {f'shared_{name}.pth': f'{packages}\n'}
    _write_wheel(folder, name, found.version.partition('+')[0], needed, path)


def _write_wheel(
    folder: Path, name: str, version: str, needed: list[str], content: dict[str, str]
) -> None:
    """A wheel whose local version label makes pip prefer it to the same version of an index."""
    stem = f'{name.replace("-", "_")}-{version}+shared'
    header = ['Metadata-Version: 2.1', f'Name: {name}', f'Version: {version}+shared']
    header += [f'Requires-Dist: {requirement}' for requirement in needed]
    files = {
        **content,
        f'{stem}.dist-info/METADATA': '\n'.join(header) + '\n',
        f'{stem}.dist-info/WHEEL': KIND,
    }
    listed = [*files, f'{stem}.dist-info/RECORD']
    files[listed[-1]] = ''.join(f'{path},,\n' for path in listed)
    with zipfile.ZipFile(folder / f'{stem}-py3-none-any.whl', 'w') as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
