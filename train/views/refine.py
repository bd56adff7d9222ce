"""A language model that rewrites the sentences of a window, behind the OpenAI protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from train.views.kept import Kept, key_of

TIMEOUT_S = 120.0
RETRIES = 4  # of a request that fails for reasons of the network or the server
ATTEMPTS = 2  # at an answer of the wrong form
MARK = '{sentences}'
# A rough length of a token of English text, for estimates.
CHARACTERS_PER_TOKEN = 4
# Local servers ask for no key, but the protocol has one.
NO_KEY = 'none'


class Refined(BaseModel):
    """The answer that is asked for."""

    model_config = ConfigDict(extra='forbid')
    sentences: list[str]


class LimitError(ValueError):
    """As many requests were made as may be made."""


@dataclass(frozen=True)
class OpenAIRefiner:
    """Rewrites sentences with a model of any server with the OpenAI protocol, also a local one.

    Temperature is 0, and the answer has the form of `Refined`.

    Attributes:
        url: Base address, such as `http://localhost:8000/v1`.
        model: Name of the model there.
        prompt: Text with `{sentences}`, which is replaced by one sentence per line.
        most: Requests that may be made; None for any number.
        at_once: Requests at the same time.
        key: Key of the server.
        kept: Where answers are kept.
    """

    url: str
    model: str
    prompt: str
    most: int | None = None
    at_once: int = 4
    key: str = NO_KEY
    kept: Kept = field(default_factory=Kept)
    _made: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        if MARK not in self.prompt:
            raise ValueError(f'the prompt of a refiner needs {MARK}, where the sentences go')

    def __call__(self, windows: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the sentences that the model writes for the sentences of each window.

        Raises:
            LimitError: More requests would be needed than `most`.
            ValueError: The server cannot be used, or its answers have another form.
        """
        keys = [
            key_of('refined', self.url, self.model, self.request(texts)) if texts else ''
            for texts in windows
        ]
        asked = [k for k, key in enumerate(keys) if key]
        answers = self.kept.answers(
            [keys[k] for k in asked], lambda at: self._answers([windows[asked[k]] for k in at])
        )
        found: list[list[str]] = [[] for _ in windows]
        for k, answer in zip(asked, answers, strict=True):
            found[k] = Refined.model_validate_json(answer).sentences
        return found

    def request(self, texts: Sequence[str]) -> str:
        """Return what is sent for the sentences of a window."""
        return self.prompt.replace(MARK, '\n'.join(texts))

    def _answers(self, windows: Sequence[Sequence[str]]) -> list[bytes]:
        if self.most is not None and self._made[0] + len(windows) > self.most:
            raise LimitError(f'{self.model}: the limit of {self.most} requests is reached')
        self._made[0] += len(windows)
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(self._answer, windows))

    def _answer(self, texts: Sequence[str]) -> bytes:
        problem = ''
        for _ in range(ATTEMPTS):
            content = self._asked(self.request(texts))
            try:
                return Refined.model_validate_json(content).model_dump_json().encode()
            except ValidationError as error:
                problem = f'{error.errors()[0]["msg"]}: {content[:80]!r}'
        raise ValueError(f'{self.url}: {self.model} answers in another form: {problem}')

    def _asked(self, request: str) -> str:
        from openai import OpenAIError

        form = {'name': 'refined', 'strict': True, 'schema': Refined.model_json_schema()}
        try:
            answer = self._client.chat.completions.create(
                model=self.model,
                messages=[{'role': 'user', 'content': request}],
                temperature=0,
                response_format={'type': 'json_schema', 'json_schema': form},
            )
        except OpenAIError as error:
            raise ValueError(f'{self.url}: {self.model}: {error}') from error
        return answer.choices[0].message.content or ''

    @cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=self.url, api_key=self.key, timeout=TIMEOUT_S, max_retries=RETRIES)


def read_prompt(path: Path) -> str:
    """Read a prompt.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not UTF-8.
    """
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: not UTF-8: {error.reason}') from error


@dataclass
class Estimate:
    """What a refiner would be asked, without asking.

    Attributes:
        requests: Number of different requests that have no kept answer.
        characters: Their length.
        first: The first of them.
    """

    requests: int = 0
    characters: int = 0
    first: str = ''
    _seen: set[str] = field(default_factory=set)

    def add(self, refiner: OpenAIRefiner, texts: Sequence[str]) -> None:
        """Count the request for the sentences of a window."""
        request = refiner.request(texts)
        if not texts or request in self._seen:
            return
        self._seen.add(request)
        self.first = self.first or request
        self.requests += 1
        self.characters += len(request)

    def lines(self, name: str) -> list[str]:
        """The estimate as readable lines."""
        tokens = self.characters // CHARACTERS_PER_TOKEN
        return [
            f'{name}: {self.requests:,} requests, {self.characters:,} characters, about '
            f'{tokens:,} tokens; the first is:',
            *('  ' + line for line in json.dumps(self.first)[1:-1].split('\\n')),
        ]
