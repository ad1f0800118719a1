"""What failed state writes are called: one error out of many failures, with Dapr's statuses and words."""

from __future__ import annotations

from collections.abc import Sequence

from edge.component import Ask
from edge.errors import Code, ComponentError, EdgeError, EtagInvalid, EtagMismatch, Grpc, Invalid
from edge.model import DeleteItem, SetItem

CONCURRENCY = frozenset(("", "first-write", "last-write"))
CONSISTENCY = frozenset(("", "strong", "eventual"))
MISMATCH, MALFORMED = "possible etag mismatch. error from state store", "invalid etag value"


def options_error(
    item: SetItem | DeleteItem, unchecked: frozenset[Ask] = frozenset(), *, in_transaction: bool = False
) -> ComponentError | None:
    """Why the item's options are refused. unchecked: writes that may have any."""
    if unchecked and _kind(item, in_transaction) in unchecked:
        return None
    if item.concurrency not in CONCURRENCY:
        return Invalid(f"unrecognized concurrency model '{item.concurrency}'")
    if item.consistency not in CONSISTENCY:
        return Invalid(f"unrecognized consistency model '{item.consistency}'")
    return None


def _kind(item: SetItem | DeleteItem, in_transaction: bool) -> Ask:
    if isinstance(item, SetItem):
        return Ask.SET_IN_TRANSACTION if in_transaction else Ask.SET
    return Ask.DELETE_IN_TRANSACTION if in_transaction else Ask.DELETE


def error_text(error: ComponentError) -> str:
    """A store's error as Dapr prints it."""
    if not isinstance(error, EtagMismatch | EtagInvalid):
        return str(error)
    prefix = MISMATCH if isinstance(error, EtagMismatch) else MALFORMED
    return f"{prefix}: {error}" if str(error) else prefix


def refusal(code: Code, failures: Sequence[ComponentError], *, many: bool = False, name: str = "", key: str = "") -> EdgeError:
    """409 / Aborted for a wrong etag, 400 / InvalidArgument for a malformed one, else the code's own.

    many: the request had several items; if all that failed had a wrong etag, the text says so once more in front, and if only some
    had, HTTP names the first of these alone (recorded).
    """
    etags = [failure for failure in failures if isinstance(failure, EtagMismatch | EtagInvalid)]
    all_text = text = "\n".join(error_text(failure) for failure in failures)
    malformed = any(isinstance(failure, EtagInvalid) for failure in etags)
    if many and etags:
        if len(etags) == len(failures):
            all_text = text = f"{MALFORMED if malformed else MISMATCH}: {text}"
        else:
            malformed, text = isinstance(etags[0], EtagInvalid), error_text(etags[0])
    http, grpc = (None, None) if not etags else (400, Grpc.INVALID_ARGUMENT) if malformed else (409, Grpc.ABORTED)
    message, grpc_message = (code.message.format(name=name, key=key, error=error) for error in (text, all_text))
    return EdgeError(code, message=message, grpc_message=grpc_message, http=http, grpc=grpc)
