"""The HTTP server of the page: sessions, questions, images, and an index if there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lb_ros.dashboard.session import QuestionError, Session
from lb_ros.dashboard.teaching import ERRORS

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PAGE = Path(__file__).parent / 'page'
MAX_OPEN_BAGS = 4


@dataclass
class Site:
    """Content of the server.

    Attributes:
        session: Session of the first page; with an index, only its title and message are used.
        search: Finds moments of the index for a sentence; None without an index.
        thumbnail: Returns a JPEG of the index for (bag, modality, stamp).
        open_bag: Fills a session with a bag of the index.
        known_bags: Returns the bags that may be opened.
    """

    session: Session
    search: Callable[[str], list[Any]] | None = None
    thumbnail: Callable[[str, str, int], bytes | None] | None = None
    open_bag: Callable[[Session, Path], None] | None = None
    known_bags: Callable[[], Mapping[str, str]] = dict
    opened: dict[str, Session] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def session_of(self, bag: str | None) -> Session | None:
        """Return the session of a bag of the index, opened if needed; None for an unknown bag."""
        if bag is None:
            return self.session
        with self.lock:
            if bag in self.opened:
                return self.opened[bag]
            if self.open_bag is None or bag not in self.known_bags():
                return None
            while len(self.opened) >= MAX_OPEN_BAGS:
                self.opened.pop(next(iter(self.opened)))
            session = self.opened[bag] = Session(Path(bag).name, live=False)
        fill_in_background(session, Path(bag), self.open_bag)
        return session


def fill_in_background(
    session: Session, bag: Path, fill: Callable[[Session, Path], None]
) -> threading.Thread:
    """Fill a session in a thread; an error becomes the message of the session."""

    def work() -> None:
        try:
            fill(session, bag)
        except (OSError, ValueError, KeyError) as error:
            said = str(error)
            session.message = said if said.startswith(str(bag)) else f'{bag}: {said}'
            session.progress = None

    thread = threading.Thread(target=work, name='open bag', daemon=True)
    thread.start()
    return thread


def make_app(site: Site) -> Starlette:
    """Make the web application.

    Raises:
        ModuleNotFoundError: The server is not installed; the message names the command for it.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.gzip import GZipMiddleware
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the dashboard needs its server: pip install "lb_ros[dashboard]"'
        ) from error

    return Starlette(
        routes=[
            *_file_routes(site),
            *_session_routes(site),
            _question_route(site),
            _teach_route(site),
            _label_route(site),
            *_index_routes(site),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=1)],
    )


def _asked_session(site: Site, request: Request) -> Session | None:
    return site.session_of(request.query_params.get('bag'))


def _asked_time(request: Request) -> float | None:
    at = request.query_params.get('t')
    return None if at is None else float(at)


def _file_routes(site: Site) -> list[Route]:
    from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse
    from starlette.routing import Route

    from train.score.timeline import PAGE as SCORE_PAGE

    def page(request: Request) -> Response:
        if site.search is None or request.url.path != '/':
            return FileResponse(PAGE / 'dashboard.html')
        return HTMLResponse(_search_page(site, request.query_params.get('sentence', '').strip()))

    def static(request: Request) -> Response:
        name = request.path_params['name']
        for folder in (PAGE, SCORE_PAGE):
            if name in {file.name for file in folder.iterdir() if file.suffix in ('.js', '.css')}:
                return FileResponse(folder / name, headers={'Cache-Control': 'no-cache'})
        return PlainTextResponse('no such file', 404)

    return [Route('/', page), Route('/moment', page), Route('/static/{name}', static)]


def _search_page(site: Site, sentence: str) -> str:
    """Return the page of an index, with results if there is a sentence."""
    from train.search.page import results_page

    title, moments, error = site.session.title, None, ''
    if sentence and site.search is not None:
        try:
            moments = site.search(sentence)
        except ValueError as problem:
            error = str(problem)
    pictures = []
    for moment in moments or ():
        place = urlencode({'bag': moment.bag, 'stamp_ns': moment.stamp_ns})
        pictures.append({m: f'/api/thumbnail/{m}?{place}' for m in moment.cosines})
    return results_page(
        title,
        moments,
        pictures,
        sentence=sentence,
        error=error,
        href=lambda moment: f'/moment?{urlencode({"bag": moment.bag, "at": moment.time_s})}',
    )


def _session_routes(site: Site) -> list[Route]:
    """Routes for the content of a page: title, updates, images with and without attention."""
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def about(request: Request) -> Response:
        session = _asked_session(site, request)
        if session is None:
            return PlainTextResponse('no such bag', 404)
        labels = None if session.labels is None else str(session.labels.path)
        return JSONResponse({'title': session.title, 'live': session.live, 'labels': labels})

    def updates(request: Request) -> Response:
        session = _asked_session(site, request)
        since = request.query_params.get('since', '0')
        if session is None or not since.isdigit():
            return PlainTextResponse('no such bag, or since is no number', 404)
        session.viewed_s = time.monotonic()
        return JSONResponse(session.updates(int(since)))

    def picture(request: Request) -> Response:
        session = _asked_session(site, request)
        try:
            at_s = _asked_time(request)
        except ValueError:
            return PlainTextResponse('t is no number', 400)
        found = session.picture(request.path_params['modality'], at_s) if session else None
        if found is None:
            return PlainTextResponse('no picture', 404)
        headers = {'X-Time': f'{found[0]:.3f}', 'Cache-Control': 'no-store'}
        return Response(found[1], media_type='image/jpeg', headers=headers)

    def why(request: Request) -> Response:
        session = _asked_session(site, request)
        if session is None:
            return PlainTextResponse('no such bag', 404)
        try:
            at_s = _asked_time(request)
        except ValueError:
            return PlainTextResponse('t is no number', 400)
        name = request.query_params.get('name', '')
        try:
            time_s, jpeg = session.why(name, request.path_params['modality'], at_s)
        except ValueError as error:
            return PlainTextResponse(str(error), 422)
        headers = {'X-Time': f'{time_s:.3f}', 'Cache-Control': 'no-store'}
        return Response(jpeg, media_type='image/jpeg', headers=headers)

    return [
        Route('/api/session', about),
        Route('/api/updates', updates),
        Route('/api/picture/{modality}', picture),
        Route('/api/why/{modality}', why),
    ]


async def _posted(site: Site, request: Request) -> tuple[Session, dict[str, Any]]:
    """The session and the content of a request that changes something.

    Raises:
        HTTPException: The request is unusable.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException

    # Protects against other sites: browsers send JSON across origins only after a preflight.
    if not request.headers.get('content-type', '').startswith('application/json'):
        raise HTTPException(415, 'expected JSON')
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, 'expected JSON') from error
    if not isinstance(body, dict):
        raise HTTPException(400, 'expected a JSON object')
    session = await run_in_threadpool(_asked_session, site, request)
    if session is None:
        raise HTTPException(404, 'no such bag')
    return session, body


def _question_route(site: Site) -> Route:
    """Route that adds (POST) and removes (DELETE) questions."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def ask(request: Request) -> Response:
        session, body = await _posted(site, request)
        if 'sentence' not in body:
            return PlainTextResponse('expected {"sentence": "..."}', 400)
        sentence = str(body['sentence'])
        try:
            act = session.ask if request.method == 'POST' else session.remove
            await run_in_threadpool(act, sentence)
        except QuestionError as error:
            return PlainTextResponse(str(error), 422)
        return JSONResponse({'sentence': sentence})

    return Route('/api/ask', ask, methods=['POST', 'DELETE'])


def _teach_route(site: Site) -> Route:
    """Route that makes a press (POST) and undoes the last one of a predicate (DELETE)."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def teach(request: Request) -> Response:
        session, body = await _posted(site, request)
        try:
            name = str(body['name'])
            if request.method == 'DELETE':
                told = await run_in_threadpool(session.untaught, name)
            else:
                at_s = None if body.get('t') is None else float(body['t'])
                lengths = {key: float(body.get(key, 0.0)) for key in ('ago', 'seconds')}
                told = await run_in_threadpool(
                    session.teach,
                    name,
                    bool(body['truth']),
                    time_s=at_s,
                    ago_s=lengths['ago'],
                    seconds=lengths['seconds'],
                )
        except (KeyError, TypeError):
            return PlainTextResponse('expected {"name": "...", "truth": true, "t": null}', 400)
        except ERRORS as error:
            return PlainTextResponse(' '.join(str(error).split()), 422)
        next_s = session.seconds(told.next_ns) if told.next_ns else None
        return JSONResponse(asdict(told) | {'next_s': next_s})

    return Route('/api/teach', teach, methods=['POST', 'DELETE'])


def _label_route(site: Site) -> Route:
    """Route that labels a stretch (POST), removes one, or takes back the last change (DELETE)."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    from train.bags.labels import truth_of

    async def label(request: Request) -> Response:
        session, body = await _posted(site, request)
        labels = session.labels
        if labels is None:
            return PlainTextResponse('nothing can be labelled here; start lb-ros label BAG', 404)
        try:
            if request.method == 'POST':
                name, truth = str(body['name']), truth_of(str(body['truth']))
                start_s, end_s = float(body['start']), float(body['end'])
                said = await run_in_threadpool(labels.add, name, truth, start_s, end_s)
            elif body:
                said = await run_in_threadpool(labels.remove, str(body['name']), float(body['t']))
            else:
                said = await run_in_threadpool(labels.undo)
        except (KeyError, TypeError):
            expected = '{"name": "...", "truth": "true", "start": 1.0, "end": 2.0}'
            return PlainTextResponse(f'expected {expected}', 400)
        except (OSError, ValueError) as error:
            return PlainTextResponse(' '.join(str(error).split()), 422)
        return JSONResponse({'said': said, 'labels': labels.shown()})

    return Route('/api/label', label, methods=['POST', 'DELETE'])


def _index_routes(site: Site) -> list[Route]:
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def search(request: Request) -> Response:
        sentence = request.query_params.get('sentence', '').strip()
        if site.search is None or not sentence:
            return PlainTextResponse('no index, or no sentence', 400)
        try:
            found = site.search(sentence)
            return JSONResponse([asdict(m) | {'supported': m.supported} for m in found])
        except ValueError as error:
            return PlainTextResponse(str(error), 422)

    def thumbnail(request: Request) -> Response:
        asked = request.query_params
        stamp = asked.get('stamp_ns', '')
        if site.thumbnail is None or not stamp.isdigit():
            return PlainTextResponse('no index, or no stamp', 404)
        modality = request.path_params['modality']
        jpeg = site.thumbnail(asked.get('bag', ''), modality, int(stamp))
        return Response(jpeg, media_type='image/jpeg') if jpeg else PlainTextResponse('none', 404)

    return [Route('/api/search', search), Route('/api/thumbnail/{modality}', thumbnail)]
