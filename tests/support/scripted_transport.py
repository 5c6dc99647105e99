"""Prepared responses in place of httpx's transport: nothing leaves the process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
from attrs import field, frozen


@frozen
class Answer:
    """A response; a ``body`` that is not bytes is sent as JSON."""

    status: int = 200
    body: Any = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)

    def response(self) -> httpx.Response:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return httpx.Response(self.status, content=content, headers=self.headers)


class ScriptedTransport(httpx.MockTransport):
    """Return the answers in turn, and raise those that are errors; repeat the last one. Sync and async."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__(self._answer)
        self._answers = answers
        self.requests: list[httpx.Request] = []

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.url.params) for request in self.requests]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer.response()
