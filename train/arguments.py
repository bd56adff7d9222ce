"""What all command lines share: checked values, lists, defaults in help, and errors of one line.

Standard library only, so that help and a wrong argument end at once.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

DEVICE = re.compile(r'(cpu|cuda|mps|xpu|meta)(:\d+)?')
NAMESPACE = re.compile(r'/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?/?', re.ASCII)


class Help(argparse.HelpFormatter):
    """Help that shows defaults, and keeps the lines of a text that has several."""

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
    """A parser of one command: errors take one line, and lists end where their names end."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault('formatter_class', Help)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        self.exit(2, f'{self.prog}: {" ".join(message.split())}; see {self.prog} --help\n')

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse, with the words of every list joined to one."""
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
    """The names of a list that nobody gave."""


class ListAction(argparse.Action):
    """An option with several names: `a,b`, `a b`, or given again.

    A word that is none of the names ends the list, so that a sentence may follow; one that is
    nearly a name does not, so that the error names it.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        known: Sequence[str],
        keyed: bool = False,
        noun: str = 'modality',
        default: Any = (),
        **settings: Any,
    ) -> None:
        self.known, self.keyed, self.noun = tuple(known), keyed, noun
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
        """Check the names and add them to those before."""
        before = getattr(namespace, self.dest, Default())
        names = self._split(values)
        for name in names:
            self._check(name)
        kept = () if isinstance(before, Default) else before
        setattr(namespace, self.dest, tuple(dict.fromkeys((*kept, *names))))

    def goes_on(self, word: str) -> bool:
        """Whether a word belongs to the list that stands before it."""
        if self.keyed:
            key, equals, _ = word.partition('=')
            return bool(equals) and (not self.known or key in self.known)
        if not self.known:
            return not word.startswith('-')
        parts = [part for part in word.split(',') if part]
        return not word.startswith('-') and bool(parts) and all(map(self._is_meant, parts))

    def _is_meant(self, part: str) -> bool:
        if part in self.known:
            return True
        close = get_close_matches(part, self.known, n=1, cutoff=0.75)
        return bool(close) and ' ' not in part and not exists(part)

    def _split(self, text: str) -> list[str]:
        # The topics of one modality are separated by commas as well.
        parts = re.split(r',(?=[^,=]+=)' if self.keyed else ',', text)
        return [part.strip() for part in parts if part.strip()]

    def _check(self, name: str) -> None:
        key, equals, value = name.partition('=') if self.keyed else (name, '=', name)
        if not equals or not value.strip('/'):
            raise argparse.ArgumentError(self, f'{name!r}: expected {self.metavar}')
        if self.known and key not in self.known:
            close = get_close_matches(key, self.known, n=1)
            advice = f'is {close[0]} meant?' if close else f'expected some of {self._listed()}'
            raise argparse.ArgumentError(self, f'unknown {self.noun} {key!r}; {advice}')

    def _listed(self) -> str:
        return ', '.join(self.known)


def add_list(
    parser: argparse._ActionsContainer,
    flag: str,
    *,
    about: str,
    known: Sequence[str] = (),
    alias: str = '',
    metavar: str = 'NAME[,NAME]',
    keyed: bool = False,
    **settings: Any,
) -> None:
    """Declare an option that takes several names, by commas, by spaces or given again.

    Args:
        parser: Of the command.
        flag: Its name.
        known: The names that fit; all where empty, of a command without positional arguments.
        about: One line of help.
        alias: An older name, which help does not show.
        metavar: How a value is written.
        keyed: A value is `NAME=VALUE` instead of a name.
        settings: Further settings of argparse.
    """
    common: dict[str, Any] = {'action': ListAction, 'known': known, 'keyed': keyed}
    common['metavar'] = metavar
    action = parser.add_argument(flag, help=about, **common, **settings)
    if alias:
        hidden: dict[str, Any] = {
            'help': argparse.SUPPRESS,
            'default': argparse.SUPPRESS,
            'dest': action.dest,
        }
        parser.add_argument(alias, **common, **hidden)


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A type of arguments: whole numbers from `least` to `most`."""

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
    """A type of arguments: numbers from `least` to `most`, without `least` where exclusive."""

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
    """Whether there is a file or folder; a path that cannot be is not there."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, a null byte, no right to look
        return False


def there(text: str) -> Path:
    """A type of arguments: a file or folder that exists."""
    path = Path(text)
    if not text or not exists(path):
        raise argparse.ArgumentTypeError(f'{text!r}: there is no such file or folder')
    return path


def file(text: str) -> Path:
    """A type of arguments: a file that exists."""
    path = there(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{text!r} is a folder, not a file')
    return path


def place(text: str) -> Path:
    """A type of arguments: a path that may be written to."""
    if not text or '\0' in text:
        raise argparse.ArgumentTypeError(f'{text!r} is no path')
    return Path(text)


def device(text: str) -> str:
    """A type of arguments: a device of PyTorch, by its name."""
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f'{text!r}: expected cpu, cuda or cuda:NUMBER')
    return text


def namespace(text: str) -> str:
    """A type of arguments: a ROS namespace; a slash at its end is left out."""
    if not NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'{text!r}: a namespace has letters, digits, _ and /, as in /robot1'
        )
    return text.rstrip('/')


def model(text: str) -> str:
    """A type of arguments: a model set that is here, or a name that tells where to get one."""
    from encoders.model_sets.places import find_set

    released = exists(Path(text) / 'config.json')
    if '=' not in text and not text.startswith(('openclip:', 'random:')) and not released:
        try:
            find_set(text)
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text
