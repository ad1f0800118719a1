"""An HTTP app as FastAPI has it: says what it was asked, answers with any status, gives and takes bodies piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from report import APP_PORT

app = FastAPI()
VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
came: dict[str, int] = {}
"""Bytes of uploads by their name, as they arrive."""
next_piece = asyncio.Event()


@app.api_route("/echo/{rest:path}", methods=VERBS)
async def echo(request: Request) -> Response:
    body = (await request.body()).decode()
    asked = [request.method, request.url.path, request.url.query, body, request.headers.get("x-jar", "")]
    return JSONResponse(asked, headers={"x-lid": "tight"})


@app.api_route("/status/{code}", methods=VERBS)
async def status(code: int) -> Response:
    return PlainTextResponse(f"said {code}", code)


@app.put("/upload/{name}")
async def upload(name: str, request: Request) -> Response:
    async for piece in request.stream():
        came[name] = came.get(name, 0) + len(piece)
    return PlainTextResponse(str(came[name]))


@app.get("/came/{name}")
async def came_so_far(name: str) -> int:
    return came.get(name, 0)


@app.get("/drip")
async def drip() -> Response:
    """Three pieces; each after the first waits for a call of /more."""

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            if number:
                await next_piece.wait()
                next_piece.clear()
            yield b"drop %d" % number

    return StreamingResponse(pieces(), media_type="text/plain")


@app.post("/more")
async def more() -> Response:
    next_piece.set()
    return Response(status_code=204)


uvicorn.run(app, host="127.0.0.1", port=APP_PORT, log_level="warning")
