"""Pages."""

from typing import Any

from fastapi import Request, Response


class ExplorePages:
    def __init__(self, surfaces: Any) -> None:
        self.surfaces = surfaces

    def docs(self, request: Request) -> Response:
        return Response("docs")

    async def explore(self, request: Request) -> Response:
        return Response("explore")

    async def sign_in(self, request: Request) -> Response:
        return Response("")

    def root(self, request: Request) -> Response:
        return Response("root")
