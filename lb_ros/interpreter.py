"""Selection of a program's Python interpreter: the environment that contains PyTorch.

On a robot, ROS 2 comes from apt and PyTorch is in a virtual environment that `scripts/robot.sh`
creates. `ros2 launch`, `ros2 run` and the shell start programs in the system's interpreter;
`enter` continues in that environment. It is on no `PATH` or `PYTHONPATH`, so that the rest of the
workspace is not affected.

Uses only the standard library, since it runs before the environment is known.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

VARIABLE = 'LB_ROS_VENV'
DISTRIBUTIONS = ('jazzy', 'kilted', 'lyrical')
# Packages that provide the needed modules, by module.
NEEDED = {
    'numpy': 'python3-numpy',
    'yaml': 'python3-yaml',
    'scipy': 'python3-scipy',
    'cv2': 'python3-opencv',
    'torch': 'PyTorch',
    'safetensors': 'safetensors',
    'tokenizers': 'tokenizers',
}


def enter(program: str) -> None:
    """Continue in the environment of the nodes; return if this process is already in it.

    The environment is, in this order: the one that LB_ROS_VENV names, the one recorded when the
    package was built, or this interpreter if it has all modules that the nodes import. Exits with
    status 1 and one line if there is none.

    Args:
        program: Name of the program in messages.
    """
    named = os.environ.get(VARIABLE, '')
    folder = Path(named or recorded('VENV') or sys.prefix)
    python = folder / 'bin' / 'python'
    if _is_current(folder) or not (named or python.exists()):
        if missing := missing_modules():
            _leave(program, f'{_lacks(missing, Path(sys.prefix))}; {_remedy(folder)}')
        return
    if not python.exists():
        _leave(program, f'there is no environment {folder} ({VARIABLE}); {_remedy(folder)}')
    # -s: ignore packages in the user's home folder, which were not checked at installation.
    os.execv(python, [str(python), '-s', *sys.argv])


def check_distribution(program: str) -> None:
    """Exit with status 1 and one line if the sourced ROS 2 is not the one used for the build.

    Two distributions in one process crash with errors that do not name the cause.
    """
    built, sourced = recorded('DISTRO'), os.environ.get('ROS_DISTRO', '')
    if built and sourced and built != sourced:
        remedy = 'build it again in a new shell, or source the other one'
        _leave(program, f'lb_ros was built for ROS 2 {built}, but {sourced} is sourced: {remedy}')
    if built == '' and (foreign := _foreign_rclpy()):
        remedy = 'open a shell that sources no ROS 2, or run `make clean setup` to build for it'
        why = f'lb_ros was built with ROS 2 from wheels, but {foreign} comes first'
        _leave(program, f'{why}: {remedy}')


def why_not_imported(error: ImportError) -> str:
    """Return one line with a remedy for a failed import."""
    name = (error.name or '').split('.')[0]
    if name in NEEDED:
        return f'{_lacks([name], Path(sys.prefix))}; {_remedy(Path(sys.prefix))}'
    version = '.'.join(map(str, sys.version_info[:2]))
    return (
        f'{error}: source a ROS 2 ({", ".join(DISTRIBUTIONS)}) of Python {version} and the '
        f'workspace with lb_ros in this shell, or run `make setup`, which gets ROS 2 from wheels'
    )


def missing_modules() -> list[str]:
    """Return the modules that nodes import but this interpreter does not find."""
    return [name for name in NEEDED if find_spec(name) is None]


def recorded(name: str) -> str | None:
    """Return a value that CMake recorded; None if the package was not built with CMake."""
    try:
        from lb_ros import built
    except ImportError:  # installed with pip, or run from the sources
        return None
    return str(getattr(built, name))


def _foreign_rclpy() -> str:
    found = find_spec('rclpy')
    if found is None or not found.origin or Path(found.origin).is_relative_to(sys.prefix):
        return ''
    return found.origin


def _is_current(folder: Path) -> bool:
    return folder.resolve() == Path(sys.prefix).resolve()


def _lacks(missing: list[str], prefix: Path) -> str:
    providers = ', '.join(NEEDED[name] for name in missing)
    return f'the Python of {prefix} lacks {providers}'


def _remedy(folder: Path) -> str:
    return (
        f'install what the nodes need into {folder} with scripts/robot.sh cpu (or cuda), '
        f'or set {VARIABLE} to an environment that has it'
    )


def _leave(program: str, line: str) -> NoReturn:
    print(f'{program}: {line}', file=sys.stderr)
    raise SystemExit(1)
