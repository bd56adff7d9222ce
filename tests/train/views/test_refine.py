"""A refiner against a real HTTP server of the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from train.views.kept import Kept
from train.views.named import ViewOptions, refiner_of
from train.views.refine import Estimate, LimitError, OpenAIRefiner

pytest.importorskip('openai')
PROMPT = 'Rewrite:\n{sentences}\nas JSON.'


@dataclass
class Server:
    """Answers with the number of sentences it was given, after `failures` errors."""

    url: str = ''
    failures: int = 0
    content: str = ''
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            state.asked.append(body)
            state.keys.append(self.headers['Authorization'])
            if state.failures:
                state.failures -= 1
                self._send(503, {'error': {'message': 'busy'}})
                return
            lines = body['messages'][0]['content'].splitlines()[1:-1]
            said = state.content or json.dumps({'sentences': [f'{len(lines)} lines', lines[0]]})
            message = {'role': 'assistant', 'content': said}
            choice = {'index': 0, 'finish_reason': 'stop', 'message': message}
            self._send(
                200,
                {
                    'id': '1',
                    'object': 'chat.completion',
                    'created': 0,
                    'model': body['model'],
                    'choices': [choice],
                },
            )

        def _send(self, status: int, values: dict[str, Any]) -> None:
            data = json.dumps(values).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
            self.send_header('retry-after-ms', '1')
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http:
        state.url = f'http://127.0.0.1:{http.server_port}/v1'
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def refiner(server: Server, **options: Any) -> OpenAIRefiner:
    given = {'prompt': PROMPT, **options}
    return refiner_of(f'openai:{server.url}#small', ViewOptions(**given))


def test_sentences_of_each_window_are_refined(server: Server) -> None:
    windows = [['the drawer is open', 'open drawer'], [], ['a cup']]
    assert refiner(server)(windows) == [
        ['2 lines', 'the drawer is open'],
        [],
        ['1 lines', 'a cup'],
    ]
    assert len(server.asked) == 2
    for body in server.asked:
        assert body['temperature'] == 0
        assert body['model'] == 'small'
        form = body['response_format']['json_schema']['schema']
        assert form['required'] == ['sentences']


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.failures = 2
    assert refiner(server)([['a cup']]) == [['1 lines', 'a cup']]
    assert len(server.asked) == 3


def test_kept_answers_are_not_asked_for(server: Server, tmp_path: Path) -> None:
    kept = Kept(tmp_path / 'views.sqlite')
    first = refiner(server, kept=kept)([['a cup'], ['a cup']])
    assert refiner(server, kept=kept)([['a cup']]) == first[:1]
    assert len(server.asked) == 1


def test_an_answer_of_another_form_is_an_error(server: Server) -> None:
    server.content = 'Here you are: the drawer is open.'
    with pytest.raises(ValueError, match=r'small answers in another form: .*Here you are'):
        refiner(server)([['a cup']])
    assert len(server.asked) == 2


def test_no_more_requests_than_allowed(server: Server) -> None:
    limited = refiner(server, most_requests=2)
    limited([['a'], ['b']])
    with pytest.raises(LimitError, match='limit of 2 requests'):
        limited([['c']])
    assert len(server.asked) == 2
    assert refiner(server, most_requests=0)([[]]) == [[]]


def test_the_key_comes_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('OPENAI_API_KEY', 'secret')
    refiner(server)([['a cup']])
    assert server.keys == ['Bearer secret']


def test_an_estimate_asks_nothing(server: Server) -> None:
    estimate = Estimate()
    for texts in (['a cup'], ['a cup'], ['a', 'b'], []):
        estimate.add(refiner(server), texts)
    assert server.asked == []
    lines = estimate.lines('small')
    assert lines[0].startswith('small: 2 requests, ')
    assert lines[1:] == ['  Rewrite:', '  a cup', '  as JSON.']


def test_unusable_refiners_are_refused() -> None:
    for name in ('openai:localhost#x', 'openai:http://localhost/v1'):
        with pytest.raises(ValueError, match='expected openai:URL#MODEL'):
            refiner_of(name, ViewOptions(prompt=PROMPT))
    with pytest.raises(ValueError, match=r'needs \{sentences\}'):
        refiner_of('openai:http://localhost/v1#x', ViewOptions(prompt='Rewrite.'))


def test_no_server_is_an_error_that_names_it() -> None:
    with ThreadingHTTPServer(('127.0.0.1', 0), BaseHTTPRequestHandler) as http:
        url = f'http://127.0.0.1:{http.server_port}/v1'
    broken = OpenAIRefiner(url, 'small', PROMPT)
    broken.__dict__['_client'] = broken._client.with_options(max_retries=0)
    with pytest.raises(ValueError, match=f'{url}: small: Connection error'):
        broken([['a cup']])
