"""What can go wrong, once: Dapr's code table, the error a block raises, and the neutral errors a component raises.

A component raises a neutral error (`NotFound`, `EtagMismatch`, …), a block turns it into an `EdgeError` of its API, a front renders
that one. gRPC codes are plain ints, so nothing heavy is imported here. Source: Dapr pkg/messages, pkg/api/errors @2dcf2e3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from edge.record import record


class Grpc(IntEnum):
    """gRPC status codes (grpc.io/docs/guides/status-codes)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


GO_NAMES: dict[int, str] = {Grpc.OK: "OK", Grpc.CANCELLED: "Canceled"}
# HTTP status of a gRPC code
HTTP_STATUS = {
    0: 200, 1: 408, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500,
    16: 401,
}  # fmt: skip


def go_name(code: int) -> str:
    """A gRPC status code as Go prints it: `DeadlineExceeded`, `Code(99)`."""
    if code not in GO_NAMES:
        known = code in Grpc._value2member_map_
        GO_NAMES[code] = "".join(word.capitalize() for word in Grpc(code).name.split("_")) if known else f"Code({code})"
    return GO_NAMES[code]


@record
class Code:
    """One row of Dapr's error table.

    http: status. tag: `errorCode` of the JSON body. grpc: status code. message: a `str.format` template.
    reason: ErrorInfo reason; a code that has one is "rich" (details over both protocols).
    basic: over gRPC only, an ErrorInfo whose reason is `tag`.
    """

    http: int
    tag: str
    grpc: int
    message: str
    reason: str = ""
    basic: bool = False


@record
class ResourceInfo:
    """google.rpc.ResourceInfo: `type` is "state" or "pubsub"; the description repeats the message unless given."""

    type: str
    name: str
    owner: str = ""
    description: str | None = None


@record
class Violation:
    """google.rpc.BadRequest.FieldViolation."""

    field: str
    description: str


@record
class Link:
    """google.rpc.Help.Link."""

    url: str
    description: str


class EdgeError(Exception):
    """A refusal in the words of Dapr's API, raised by blocks and rendered by fronts.

    info: ErrorInfo metadata (None renders as null). http / grpc / grpc_message: override the code's own where Dapr's faces differ.
    headers: extra HTTP response headers (`Retry-After`, `metadata.<k>`). hint: for the log, what the operator can type.
    """

    def __init__(
        self,
        code: Code,
        *,
        message: str | None = None,
        info: Mapping[str, str] | None = None,
        resource: ResourceInfo | None = None,
        violations: Sequence[Violation] = (),
        links: Sequence[Link] = (),
        http: int | None = None,
        grpc: int | None = None,
        grpc_message: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        hint: str | None = None,
        **names: object,
    ) -> None:
        self.code = code
        self.message = message if message is not None else code.message.format(**names)
        self.info = info
        self.resource = resource
        self.violations = tuple(violations)
        self.links = tuple(links)
        self.http = code.http if http is None else http
        self.grpc = code.grpc if grpc is None else grpc
        self.grpc_message = self.message if grpc_message is None else grpc_message
        self.headers = tuple(headers)
        self.body = body
        self.hint = hint
        super().__init__(self.message)


class ComponentError(Exception):
    """What a component may raise; the text goes to the caller, so it names what failed and never a secret."""


class NotFound(ComponentError):
    """The thing asked for does not exist."""


class EtagMismatch(ComponentError):
    """The stored ETag is another one, or a first-write found the key taken. The text may be empty."""


class EtagInvalid(ComponentError):
    """The ETag has not the form that this store uses."""


class Unavailable(ComponentError):
    """The server behind the component cannot be reached now; the caller may try again."""


class Unsupported(ComponentError):
    """The component cannot do this at all."""


class Invalid(ComponentError):
    """The request itself is wrong (metadata value, key, query)."""


class Full(ComponentError):
    """No room: disk, quota or a journal limit. Nothing was stored."""


class Closed(ComponentError):
    """The component was closed while the call was under way."""


# --- Dapr's code table. Blocks import the names; texts are Dapr's.
BAD_REQUEST = Code(400, "ERR_BAD_REQUEST", Grpc.INVALID_ARGUMENT, "invalid request: {error}")
MALFORMED_REQUEST = Code(400, "ERR_MALFORMED_REQUEST", Grpc.INVALID_ARGUMENT, "failed deserializing HTTP body: {error}")
BODY_READ = Code(400, "ERR_BODY_READ", Grpc.INVALID_ARGUMENT, "failed to read request body: {error}")
API_UNIMPLEMENTED = Code(501, "ERR_API_UNIMPLEMENTED", Grpc.UNIMPLEMENTED, "this API is currently not implemented")
INTERNAL = Code(500, "ERR_INTERNAL", Grpc.INTERNAL, "{error}")
UNCLASSIFIED = Code(500, "ERROR", Grpc.UNKNOWN, "{error}")

STATE_NOT_CONFIGURED = Code(
    500, "ERR_STATE_STORE_NOT_CONFIGURED", Grpc.FAILED_PRECONDITION, "state store {name} is not configured", "DAPR_STATE_NOT_CONFIGURED"
)
STATE_NOT_FOUND = Code(400, "ERR_STATE_STORE_NOT_FOUND", Grpc.INVALID_ARGUMENT, "state store {name} is not found", "DAPR_STATE_NOT_FOUND")
STATE_ILLEGAL_KEY = Code(
    400, "ERR_MALFORMED_REQUEST", Grpc.INVALID_ARGUMENT, "input key/keyPrefix '{key}' can't contain '||'", "DAPR_STATE_ILLEGAL_KEY"
)
STATE_GET = Code(500, "ERR_STATE_GET", Grpc.INTERNAL, "fail to get {key} from state store {name}: {error}", basic=True)
STATE_SAVE = Code(500, "ERR_STATE_SAVE", Grpc.INTERNAL, "failed saving state in state store {name}: {error}", basic=True)
STATE_DELETE = Code(500, "ERR_STATE_DELETE", Grpc.INTERNAL, "failed deleting state with key {key}: {error}", basic=True)
STATE_BULK_DELETE = Code(500, "ERR_STATE_BULK_DELETE", Grpc.INTERNAL, "failed deleting state in state store {name}: {error}", basic=True)
STATE_BULK_GET = Code(500, "ERR_STATE_BULK_GET", Grpc.UNKNOWN, "{error}")
STATE_NO_TRANSACTIONS = Code(
    500,
    "ERR_STATE_STORE_NOT_SUPPORTED",
    Grpc.UNIMPLEMENTED,
    "state store {name} doesn't support transactions",
    "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED",
)
STATE_TOO_MANY = Code(
    400,
    "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
    Grpc.INVALID_ARGUMENT,
    "the transaction contains {count} operations, which is more than what the state store supports: {max}",
    "DAPR_STATE_TOO_MANY_TRANSACTIONS",
)
STATE_OPERATION = Code(400, "ERR_NOT_SUPPORTED_STATE_OPERATION", Grpc.UNIMPLEMENTED, "operation type {operation} not supported", basic=True)
STATE_TRANSACTION = Code(500, "ERR_STATE_TRANSACTION", Grpc.INTERNAL, "error while executing state transaction: {error}", basic=True)
STATE_NO_QUERY = Code(
    500, "ERR_STATE_STORE_NOT_SUPPORTED", Grpc.INTERNAL, "state store does not support querying", "DAPR_STATE_QUERYING_NOT_SUPPORTED"
)
STATE_QUERY = Code(500, "ERR_STATE_QUERY", Grpc.INTERNAL, "state store {name} query failed: {error}", "DAPR_STATE_QUERY_FAILED")
PUBLISH_OUTBOX = Code(500, "ERR_PUBLISH_OUTBOX", Grpc.INTERNAL, "error while publishing outbox message: {error}", "DAPR_PUBSUB_OUTBOX")

PUBSUB_EMPTY = Code(404, "ERR_PUBSUB_EMPTY", Grpc.INVALID_ARGUMENT, "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY")
PUBSUB_NOT_FOUND = Code(404, "ERR_PUBSUB_NOT_FOUND", Grpc.INVALID_ARGUMENT, "pubsub {name} is not found", "DAPR_PUBSUB_NOT_FOUND")
TOPIC_EMPTY = Code(404, "ERR_TOPIC_NAME_EMPTY", Grpc.INVALID_ARGUMENT, "topic is empty in pubsub {name}", "DAPR_PUBSUB_TOPIC_NAME_EMPTY")
PUBSUB_FORBIDDEN = Code(
    403, "ERR_PUBSUB_FORBIDDEN", Grpc.PERMISSION_DENIED, "topic {topic} is not allowed for app id {app}", "DAPR_PUBSUB_FORBIDDEN"
)
PUBSUB_UNMARSHAL_EVENTS = Code(
    400,
    "ERR_PUBSUB_EVENTS_SER",
    Grpc.INVALID_ARGUMENT,
    "error when unmarshaling the request for topic {topic} pubsub {name}: {error}",
    "DAPR_PUBSUB_UNMARSHAL_EVENTS",
)
PUBSUB_MARSHAL_EVENTS = Code(
    400,
    "ERR_PUBSUB_EVENTS_SER",
    Grpc.INVALID_ARGUMENT,
    "error marshaling events to bytes for topic {topic} pubsub {name}. error: {error}",
    "DAPR_PUBSUB_MARSHAL_EVENTS",
)
PUBSUB_MARSHAL_ENVELOPE = Code(
    400,
    "ERR_PUBSUB_EVENTS_SER",
    Grpc.INVALID_ARGUMENT,
    "error when marshalling cloud event envelope for topic {topic} pubsub {name}: {error}",
    "DAPR_PUBSUB_MARSHAL_ENVELOPE",
)
PUBSUB_METADATA = Code(
    400,
    "ERR_PUBSUB_REQUEST_METADATA",
    Grpc.INVALID_ARGUMENT,
    "failed deserializing metadata. Error: {error}",
    "DAPR_PUBSUB_METADATA_DESERIALIZATION",
)
PUBSUB_CLOUD_EVENT = Code(
    500, "ERR_PUBSUB_CLOUD_EVENTS_SER", Grpc.INVALID_ARGUMENT, "cannot create cloudevent", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"
)
PUBSUB_PUBLISH = Code(
    500,
    "ERR_PUBSUB_PUBLISH_MESSAGE",
    Grpc.INTERNAL,
    "error when publishing to topic {topic} in pubsub {name}: {error}",
    "DAPR_PUBSUB_PUBLISH_MESSAGE",
)
PUBSUB_FULL = Code(
    507,
    "ERR_PUBSUB_PUBLISH_MESSAGE",
    Grpc.RESOURCE_EXHAUSTED,
    "error when publishing to topic {topic} in pubsub {name}: {error}",
    "EDGED_PUBSUB_JOURNAL_FULL",
)

OUTPUT_BINDING = Code(500, "ERR_INVOKE_OUTPUT_BINDING", Grpc.INTERNAL, "error invoking output binding {name}: {error}", basic=True)
SECRET_NOT_CONFIGURED = Code(500, "ERR_SECRET_STORES_NOT_CONFIGURED", Grpc.FAILED_PRECONDITION, "secret store is not configured")
SECRET_NOT_FOUND = Code(401, "ERR_SECRET_STORE_NOT_FOUND", Grpc.INVALID_ARGUMENT, "failed finding secret store with key {name}")
SECRET_DENIED = Code(403, "ERR_PERMISSION_DENIED", Grpc.PERMISSION_DENIED, "access denied by policy to get {key} from {name}")
SECRET_GET = Code(500, "ERR_SECRET_GET", Grpc.INTERNAL, "failed getting secret with key {key} from secret store {name}: {error}")
SECRET_BULK_GET = Code(500, "ERR_SECRET_GET", Grpc.INTERNAL, "failed getting secrets from secret store {name}: {error}")

CONFIG_NOT_CONFIGURED = Code(
    500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", Grpc.FAILED_PRECONDITION, "configuration stores not configured", basic=True
)
CONFIG_NOT_FOUND = Code(400, "ERR_CONFIGURATION_STORE_NOT_FOUND", Grpc.INVALID_ARGUMENT, "configuration store {name} not found", basic=True)
CONFIG_GET = Code(500, "ERR_CONFIGURATION_GET", Grpc.INTERNAL, "failed to get {keys} from Configuration store {name}: {error}", basic=True)
CONFIG_SUBSCRIBE = Code(
    500,
    "ERR_CONFIGURATION_SUBSCRIBE",
    Grpc.INVALID_ARGUMENT,
    "failed to subscribe {keys} from Configuration store {name}: {error}",
    basic=True,
)
APP_CHANNEL_NIL = Code(500, "ERR_APP_CHANNEL_NIL", Grpc.INTERNAL, "app channel is not initialized. {error}")
LOCK_NOT_CONFIGURED = Code(500, "ERR_LOCK_STORE_NOT_CONFIGURED", Grpc.FAILED_PRECONDITION, "lock store is not configured")
LOCK_NOT_FOUND = Code(400, "ERR_LOCK_STORE_NOT_FOUND", Grpc.INVALID_ARGUMENT, "lock store {name} not found")
LOCK_MALFORMED = Code(400, "ERR_MALFORMED_REQUEST", Grpc.INVALID_ARGUMENT, "{error}")
TRY_LOCK = Code(500, "ERR_TRY_LOCK", Grpc.INTERNAL, "failed to try acquiring lock: {error}")
UNLOCK = Code(500, "ERR_UNLOCK", Grpc.INTERNAL, "failed to release lock: {error}")

DIRECT_INVOKE = Code(500, "ERR_DIRECT_INVOKE", Grpc.INTERNAL, "failed to invoke, id: {app}, err: {error}")
NO_APP_ID = Code(
    404,
    "ERR_DIRECT_INVOKE",
    Grpc.NOT_FOUND,
    "failed getting app id either from the URL path or the header dapr-app-id",
)
NOT_READY = Code(500, "ERR_HEALTH_NOT_READY", Grpc.UNAVAILABLE, "dapr is not ready: {targets}")
OUTBOUND_NOT_READY = Code(500, "ERR_OUTBOUND_HEALTH_NOT_READY", Grpc.UNAVAILABLE, "dapr outbound is not ready")
HEALTH_APP_ID = Code(500, "ERR_HEALTH_APPID_NOT_MATCH", Grpc.INVALID_ARGUMENT, "dapr app-id does not match")

WORKFLOW_ID_MISSING = Code(400, "ERR_INSTANCE_ID_PROVIDED_MISSING", Grpc.INVALID_ARGUMENT, "no instance ID was provided")
WORKFLOW_ID_INVALID = Code(
    400,
    "ERR_INSTANCE_ID_INVALID",
    Grpc.INVALID_ARGUMENT,
    "workflow instance ID '{id}' is invalid: only alphanumeric and underscore characters are allowed",
)
WORKFLOW_ID_LONG = Code(
    400, "ERR_INSTANCE_ID_TOO_LONG", Grpc.INVALID_ARGUMENT, "workflow instance ID exceeds the max length of {max} characters"
)
WORKFLOW_NAME_MISSING = Code(400, "ERR_WORKFLOW_NAME_MISSING", Grpc.INVALID_ARGUMENT, "workflow name is not configured")
WORKFLOW_EVENT_MISSING = Code(400, "ERR_WORKFLOW_EVENT_NAME_MISSING", Grpc.INVALID_ARGUMENT, "missing workflow event name")
WORKFLOW_NOT_FOUND = Code(404, "ERR_INSTANCE_ID_NOT_FOUND", Grpc.NOT_FOUND, "unable to find workflow with the provided instance ID: {id}")
WORKFLOW_START = Code(500, "ERR_START_WORKFLOW", Grpc.INTERNAL, "error starting workflow '{name}': {error}")
WORKFLOW_GET = Code(500, "ERR_GET_WORKFLOW", Grpc.INTERNAL, "error while getting workflow info on instance '{id}': {error}")
WORKFLOW_PAUSE = Code(500, "ERR_PAUSE_WORKFLOW", Grpc.INTERNAL, "error pausing workflow {id}: {error}")
WORKFLOW_RESUME = Code(500, "ERR_RESUME_WORKFLOW", Grpc.INTERNAL, "error resuming workflow {id}: {error}")
WORKFLOW_TERMINATE = Code(500, "ERR_TERMINATE_WORKFLOW", Grpc.INTERNAL, "error terminating workflow '{id}': {error}")
WORKFLOW_PURGE = Code(500, "ERR_PURGE_WORKFLOW", Grpc.INTERNAL, "error purging workflow {id}: {error}")
WORKFLOW_RAISE = Code(500, "ERR_RAISE_EVENT_WORKFLOW", Grpc.INTERNAL, "error raising event on workflow '{id}': {error}")

ACTOR_REMINDER_NOT_HOSTED = Code(
    403, "ERR_ACTOR_REMINDER_NON_HOSTED", Grpc.PERMISSION_DENIED, "operations on actor reminders are only possible on hosted actor types"
)
ACTOR_RESERVED = Code(
    403,
    "ERR_ACTOR_TYPE_RESERVED",
    Grpc.PERMISSION_DENIED,
    "actor type {type} is reserved for the Dapr workflow runtime; direct actor API access is not permitted",
)
ACTOR_NO_PLACEMENT = Code(400, "ERR_ACTOR_NO_PLACEMENT", Grpc.UNAVAILABLE, "placement service is not configured")
ACTOR_NO_STORE = Code(
    500,
    "ERR_ACTOR_RUNTIME_NOT_FOUND",
    Grpc.INTERNAL,
    "the state store is not configured to use the actor runtime."
    ' Have you set the - name: actorStateStore value: "true" in your state store component file?',
)
ACTOR_NO_APP = Code(400, "ERR_ACTOR_NO_APP_CHANNEL", Grpc.UNAVAILABLE, "app channel is not initialized")
ACTOR_CLOSED = Code(503, "ERR_ACTOR_RUNTIME_CLOSED", Grpc.UNAVAILABLE, "actor runtime is closed")
ACTOR_INACTIVE = Code(400, "ERR_ACTOR_INSTANCE_MISSING", Grpc.INTERNAL, "actor instance is missing")
ACTOR_INVOKE = Code(500, "ERR_ACTOR_INVOKE_METHOD", Grpc.INTERNAL, "error invoke actor method: {error}")
ACTOR_STACK_DEPTH = Code(500, "ERR_ACTOR_STACK_DEPTH", Grpc.RESOURCE_EXHAUSTED, "maximum stack depth exceeded")
ACTOR_STATE_GET = Code(500, "ERR_ACTOR_STATE_GET", Grpc.INTERNAL, "error getting actor state: {error}")
ACTOR_STATE_SAVE = Code(500, "ERR_ACTOR_STATE_TRANSACTION_SAVE", Grpc.INTERNAL, "error saving actor transaction state: {error}")
ACTOR_REMINDER_CREATE = Code(500, "ERR_ACTOR_REMINDER_CREATE", Grpc.INTERNAL, "error creating actor reminder: {error}")
ACTOR_REMINDER_GET = Code(500, "ERR_ACTOR_REMINDER_GET", Grpc.INTERNAL, "error getting actor reminder: {error}")
ACTOR_REMINDER_DELETE = Code(500, "ERR_ACTOR_REMINDER_DELETE", Grpc.INTERNAL, "error deleting actor reminder: {error}")
ACTOR_REMINDER_MISSING = Code(404, "ERR_ACTOR_REMINDER_NOT_FOUND", Grpc.NOT_FOUND, "actor reminder not found: {name}")
ACTOR_REMINDER_EXISTS = Code(409, "ERR_ACTOR_REMINDER_ALREADY_EXISTS", Grpc.ALREADY_EXISTS, "actor reminder already exists: {name}")
ACTOR_TIMER_CREATE = Code(500, "ERR_ACTOR_TIMER_CREATE", Grpc.INTERNAL, "error creating actor timer: {error}")

JOB_EMPTY = Code(400, "DAPR_SCHEDULER_EMPTY", Grpc.INVALID_ARGUMENT, "Job is empty", "DAPR_SCHEDULER_EMPTY")
JOB_NAME_EMPTY = Code(400, "DAPR_SCHEDULER_JOB_NAME_EMPTY", Grpc.INVALID_ARGUMENT, "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY")
JOB_NAME_IN_BODY = Code(
    400, "DAPR_SCHEDULER_JOB_NAME", Grpc.INVALID_ARGUMENT, "Set the job name in the url only", "DAPR_SCHEDULER_JOB_NAME"
)
JOB_NO_SCHEDULE = Code(400, "DAPR_SCHEDULER_SCHEDULE_EMPTY", Grpc.INVALID_ARGUMENT, "Schedule is empty", "DAPR_SCHEDULER_SCHEDULE_EMPTY")
JOB_SCHEDULE = Code(
    500, "DAPR_SCHEDULER_SCHEDULE_JOB", Grpc.INTERNAL, "failed to schedule job due to: {error}", "DAPR_SCHEDULER_SCHEDULE_JOB"
)
JOB_EXISTS = Code(
    409, "DAPR_SCHEDULER_SCHEDULE_JOB", Grpc.ALREADY_EXISTS, "failed to schedule job due to: {error}", "DAPR_SCHEDULER_SCHEDULE_JOB"
)
JOB_GET = Code(500, "DAPR_SCHEDULER_GET_JOB", Grpc.INTERNAL, "failed to get job due to: {error}", "DAPR_SCHEDULER_GET_JOB")
JOB_LIST = Code(500, "DAPR_SCHEDULER_LIST_JOBS", Grpc.INTERNAL, "failed to list jobs due to: {error}", "DAPR_SCHEDULER_LIST_JOBS")
JOB_DELETE = Code(500, "DAPR_SCHEDULER_DELETE_JOB", Grpc.INTERNAL, "failed to delete job due to: {error}", "DAPR_SCHEDULER_DELETE_JOB")

CRYPTO_NOT_CONFIGURED = Code(500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", Grpc.INTERNAL, "crypto providers not configured")
CRYPTO_NOT_FOUND = Code(400, "ERR_CRYPTO_PROVIDER_NOT_FOUND", Grpc.INVALID_ARGUMENT, "crypto provider {name} not found")
CRYPTO_KEY = Code(500, "ERR_CRYPTO_KEY", Grpc.INTERNAL, "failed to retrieve key: {error}")
CRYPTO = Code(500, "ERR_CRYPTO", Grpc.INTERNAL, "failed to perform operation: {error}")
CONVERSATION_NOT_FOUND = Code(400, "ERR_CONVERSATION_NOT_FOUND", Grpc.INVALID_ARGUMENT, "failed finding conversation component {name}")
CONVERSATION_MISSING_INPUTS = Code(
    400, "ERR_CONVERSATION_MISSING_INPUTS", Grpc.INVALID_ARGUMENT, "failed conversing with component {name}: missing inputs in request"
)
CONVERSATION_INVALID = Code(
    400,
    "ERR_CONVERSATION_INVALID_PARMS",
    Grpc.INVALID_ARGUMENT,
    "failed conversing with component {name}: invalid params: {error}",
)
CONVERSATION_INVOKE = Code(500, "ERR_CONVERSATION_INVOKE", Grpc.INTERNAL, "failed conversing with component {name}: {error}")
