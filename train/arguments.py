"""Parts of all command lines: checked values, lists, defaults in help, and one-line errors.

Imports the standard library only, so that help and wrong arguments return immediately.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from encoders.regions import Region

DEVICE = re.compile(r'(cpu|cuda|mps|xpu|meta)(:\d+)?')
NAMESPACE = re.compile(r'/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?/?', re.ASCII)


class Help(argparse.HelpFormatter):
    """Help that shows defaults and keeps the line breaks of texts with several lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if '\n' in text:
            return ''.join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = _shown(action.default)
        if not shown or not action.option_strings or 'default' in (action.help or ''):
            return action.help
        return f'{action.help or ""} (default: {shown})'.lstrip()


def _shown(default: Any) -> str:
    if isinstance(default, list | tuple):
        return ', '.join(map(str, default)).replace('%', '%%')
    if default is None or default is False or default in (argparse.SUPPRESS, '', math.inf):
        return ''
    text = f'{default:g}' if isinstance(default, float) else str(default)
    return text.replace('%', '%%')


class Parser(argparse.ArgumentParser):
    """Parser of one command, with one-line errors and lists of names separated by spaces."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault('formatter_class', Help)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and a one-line message."""
        self.exit(2, f'{self.prog}: {" ".join(message.split())}; see {self.prog} --help\n')

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does, after joining the words of every list into one."""
        words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(self._joined(words), namespace)

    def _joined(self, words: Sequence[str]) -> list[str]:
        joined: list[str] = []
        left = list(words)
        while left:
            word = left.pop(0)
            joined.append(word)
            if word == '--':
                break
            flag, equals, value = word.partition('=')
            action = self._list_of(flag)
            if action is None:
                continue
            if not equals and left and not left[0].startswith('-'):
                value = left.pop(0)
            while value and left and action.goes_on(left[0]):
                value += f',{left.pop(0)}'
            if value:
                joined[-1:] = [flag, value]
        return joined + left

    def _list_of(self, flag: str) -> ListAction | None:
        if not flag.startswith('--'):
            return None
        exact = self._option_string_actions.get(flag)
        actions = {
            id(action): action
            for name, action in self._option_string_actions.items()
            if name.startswith(flag)
        }
        found = exact or (next(iter(actions.values())) if len(actions) == 1 else None)
        return found if isinstance(found, ListAction) else None


class Default(tuple[str, ...]):
    """Default names of a list, replaced when the user gives the option."""


class ListAction(argparse.Action):
    """An option with several names: `a,b`, `a b`, or repeated.

    A word that is not a known name ends the list, so that a sentence may follow. A word that is
    close to a known name does not end it, so that the error reports the misspelt name.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        known: Sequence[str],
        keyed: bool = False,
        parts: bool = False,
        noun: str = 'modality',
        default: Any = (),
        **settings: Any,
    ) -> None:
        self.known, self.keyed, self.parts, self.noun = tuple(known), keyed, parts, noun
        if default is not argparse.SUPPRESS:
            default = Default(default)
        super().__init__(option_strings, dest, default=default, **settings)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check the names and append them to the earlier ones."""
        before = getattr(namespace, self.dest, Default())
        names = self._split(values)
        for name in names:
            self._check(name)
        kept = () if isinstance(before, Default) else before
        setattr(namespace, self.dest, tuple(dict.fromkeys((*kept, *names))))

    def goes_on(self, word: str) -> bool:
        """Whether a word continues the list before it."""
        if self.keyed:
            key, equals, _ = word.partition('=')
            return bool(equals) and (not self.known or key in self.known)
        if not self.known:
            return not word.startswith('-')
        parts = [part for part in word.split(',') if part]
        return not word.startswith('-') and bool(parts) and all(map(self._is_meant, parts))

    def _is_meant(self, part: str) -> bool:
        if self._is_known(part):
            return True
        close = get_close_matches(part, self.known, n=1, cutoff=0.75)
        return bool(close) and ' ' not in part and not exists(part)

    def _is_known(self, name: str) -> bool:
        return (name.partition('@')[0] if self.parts else name) in self.known

    def _split(self, text: str) -> list[str]:
        # Commas also separate the topics of one modality.
        parts = re.split(r',(?=[^,=]+=)' if self.keyed else ',', text)
        return [part.strip() for part in parts if part.strip()]

    def _check(self, name: str) -> None:
        key, equals, value = name.partition('=') if self.keyed else (name, '=', name)
        if not equals or not value.strip('/'):
            raise argparse.ArgumentError(self, f'{name!r}: expected {self.metavar}')
        if self.known and not self._is_known(key):
            close = get_close_matches(key, self.known, n=1)
            meant = f'is {close[0]} meant? ' if close else ''
            advice = f'{meant}expected some of {", ".join(self.known)}'
            raise argparse.ArgumentError(self, f'unknown {self.noun} {key!r}; {advice}')


def add_list(
    parser: argparse._ActionsContainer,
    flag: str,
    *,
    about: str,
    known: Sequence[str] = (),
    alias: str = '',
    metavar: str = 'NAME[,NAME]',
    keyed: bool = False,
    parts: bool = False,
    **settings: Any,
) -> None:
    """Declare an option that takes several names, separated by commas or spaces, or repeated.

    Args:
        parser: Parser of the command.
        flag: Name of the option.
        known: Valid names; if empty, any name, for commands without positional arguments.
        about: One line of help.
        alias: An older name of the option, hidden in help.
        metavar: Format of a value, shown in help.
        keyed: Whether a value is `NAME=VALUE` instead of a name.
        parts: Whether `@PART` may follow a name.
        settings: Further settings of argparse.
    """
    common: dict[str, Any] = {'action': ListAction, 'known': known, 'keyed': keyed}
    common |= {'metavar': metavar, 'parts': parts}
    action = parser.add_argument(flag, help=about, **common, **settings)
    if alias:
        hidden: dict[str, Any] = {
            'help': argparse.SUPPRESS,
            'default': argparse.SUPPRESS,
            'dest': action.dest,
        }
        parser.add_argument(alias, **common, **hidden)


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Argument type for integers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'must be a whole number, not {text!r}') from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'must be {_range(least, most)}, not {text}')
        return value

    return read


def number(
    least: float, most: float = math.inf, *, exclusive: bool = False
) -> Callable[[str], float]:
    """Argument type for numbers from `least` to `most`, without `least` if exclusive."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'must be a number, not {text!r}') from None
        if not least <= value <= most or (exclusive and value == least):
            wanted = f'more than {least:g}' if exclusive else _range(least, most)
            raise argparse.ArgumentTypeError(f'must be {wanted}, not {text}')
        return value

    return read


def _range(least: float, most: float) -> str:
    return f'at least {least:g}' if most == math.inf else f'from {least:g} to {most:g}'


def exists(path: str | Path) -> bool:
    """Whether a file or folder exists; False for invalid paths."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, a null byte, no permission
        return False


def there(text: str) -> Path:
    """Argument type for a file or folder that exists."""
    path = Path(text)
    if not text or not exists(path):
        raise argparse.ArgumentTypeError(f'{text!r}: there is no such file or folder')
    return path


def file(text: str) -> Path:
    """Argument type for a file that exists."""
    path = there(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{text!r} is a folder, not a file')
    return path


def place(text: str) -> Path:
    """Argument type for a path that may be written to."""
    if not text or '\0' in text:
        raise argparse.ArgumentTypeError(f'{text!r} is no path')
    return Path(text)


def device(text: str) -> str:
    """Argument type for the name of a PyTorch device."""
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f'{text!r}: expected cpu, cuda or cuda:NUMBER')
    return text


def region(text: str) -> Region:
    """Argument type for a part of a view."""
    from encoders.regions import parse_region

    try:
        return parse_region(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def model_device(text: str) -> str:
    """Argument type for the name of a PyTorch device, or `auto`."""
    return text if text == 'auto' else device(text)


def namespace(text: str) -> str:
    """Argument type for a ROS namespace; a trailing slash is removed."""
    if not NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'{text!r}: a namespace has letters, digits, _ and /, as in /robot1'
        )
    return text.rstrip('/')


def model(text: str) -> str:
    """Argument type for a model set: a local one, or a name that can be downloaded."""
    from encoders.model_sets.places import find_set

    released = exists(Path(text) / 'config.json')
    if '=' not in text and not text.startswith(('openclip:', 'random:')) and not released:
        try:
            find_set(text)
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text
