"""Rows labelled by words."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from aepipe.release.label import Labelled, label
from aepipe.serve.handlers.reviews import AGAIN
from aepipe.serve.labels import LabelsRequest, labels
from aepipe.serve.requests import from_json
from aepipe.serve.responses import as_json, working
from aepipe.serve.service import named, served, service_of
from aepipe.words import words_in


async def labelled(request: Request) -> Response:
    """Answer with the word that each row is most like; 202 while that is worked out."""
    wanted = from_json(await request.body(), LabelsRequest)
    service, one = service_of(request), served(request, wanted.release)
    words = words_in("\n".join(wanted.words))
    place = ("labels", one.digest, words)

    def work() -> Labelled:
        return label(one.release, words)

    found = await service.searches.run(lambda: service.jobs.result(place, work))
    if found is None:
        return as_json(working(service.jobs.progress(place)), 202, AGAIN)
    shown = await service.searches.run(lambda: labels(one, found, wanted.after, wanted.limit))
    return as_json(shown, headers=named(one))
