"""`--allowed-origins`: the answers of Dapr's CORS handler, recorded (http-api.md §1.6)."""

from __future__ import annotations

from edge.http1.messages import Request, Response

METHODS = frozenset(("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
VARY = [("vary", "Origin"), ("vary", "Access-Control-Request-Method"), ("vary", "Access-Control-Request-Headers")]


class Cors:
    """One listener's rule. origins: `*` or a comma list."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(o.strip().lower() for o in origins.split(",") if o.strip())
        self._any = "*" in self._origins

    def allows(self, origin: str) -> bool:
        return bool(origin) and (self._any or origin.lower() in self._origins)

    def preflight(self, request: Request) -> Response | None:
        """The answer to a preflight, None for any other request."""
        headers = request.headers
        origin, method = headers.get("origin", ""), headers.get("access-control-request-method", "")
        if request.method != "OPTIONS" or not origin or not method:
            return None
        answer = list(VARY)
        if self.allows(origin) and method.upper() in METHODS:
            answer += [("access-control-allow-origin", self._shown(origin)), ("access-control-allow-methods", method.upper())]
            if wanted := headers.get("access-control-request-headers", ""):
                names = ", ".join("-".join(p.capitalize() for p in name.strip().split("-")) for name in wanted.split(","))
                answer.append(("access-control-allow-headers", names))
        return Response(200, answer)

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """What every other answer carries."""
        origin = request.headers.get("origin", "")
        found = [("vary", "Origin")]
        return [*found, ("access-control-allow-origin", self._shown(origin))] if self.allows(origin) else found

    def _shown(self, origin: str) -> str:
        return "*" if self._any else origin
