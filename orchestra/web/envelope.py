"""The shape of every answer: `{"data": ...}`, or an error with a code, a message and the request's id."""

import json
import re
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    410: "GONE",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA",
    416: "RANGE_NOT_SATISFIABLE",
    421: "MISDIRECTED",
    422: "VALIDATION_ERROR",
    428: "PRECONDITION_REQUIRED",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "RUN_SILENT",
}
REQUEST_ID = re.compile(r"[\w-]{1,64}")


class ApiError(Exception):
    """A refusal with its status. `code` says more than the status where there is more to say."""

    def __init__(
        self, status: int, message: str, code: str = "", details: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
        self.code, self.details = code or CODES.get(status, "BAD_REQUEST"), details


def make_request_id(given: str) -> str:
    """Return the caller's id if it is harmless, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(6)}"


def json_response(
    content: Any, status: int = 200, headers: dict[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    # ASCII: a lone surrogate of a file name is no UTF-8.
    body = json.dumps(content, ensure_ascii=True, separators=(",", ":"), default=str).encode()
    return Response(body, status, headers, media_type)


def data_response(
    data: Any, page: dict[str, Any] | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return json_response({"data": data} | ({"page": page} if page is not None else {}), status, headers)


def require_match(request: Request, tag: str) -> None:
    """Refuse a change of what was changed since the caller read it. The caller must say what it read."""
    given = request.headers.get("if-match", "")
    if not given:
        raise ApiError(428, "This needs the header If-Match with the ETag of what you read.")
    if given != "*" and tag not in [each.strip() for each in given.split(",")]:
        raise ApiError(412, "It was changed since you read it: read it again.", details={"etag": tag})


def error_response(error: ApiError, request_id: str, accept: str = "") -> Response:
    """Return the error in our envelope, or as problem+json if the caller asks for that."""
    headers = error.headers | {"X-Request-Id": request_id}
    if "application/problem+json" in accept:
        problem = {"type": "about:blank", "title": error.code, "status": error.status}
        problem |= {"detail": error.message, "instance": request_id, "details": error.details}
        return json_response(problem, error.status, headers, "application/problem+json")
    known = {"code": error.code, "message": error.message, "details": error.details, "requestId": request_id}
    return json_response({"error": known}, error.status, headers)
