"""Every RPC by the API group that allow and deny lists name; its module is imported when the first call asks for it."""

from __future__ import annotations

DAPR = "/dapr.proto.runtime.v1.Dapr/"
TASK_HUB = "/TaskHubSidecarService/"
HEALTH = "/grpc.health.v1.Health/"
TRACED = ("/dapr.proto.internals.", "/dapr.proto.runtime.", TASK_HUB[:-1])  # what tells of its trace: all of these but
INVOKE = f"{DAPR}InvokeService"
READS = frozenset(("GetState", "GetBulkState", "QueryStateAlpha1", "GetActorState"))  # quick, and as large as what was stored
REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")

_WORKFLOW = ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")
_CONFIGURATION = ("GetConfiguration", "SubscribeConfiguration", "UnsubscribeConfiguration")
_JOBS = ("ScheduleJob", "GetJob", "DeleteJob", "DeleteJobsByPrefix", "ListJobs")
_SUBTLE = ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")

# (group as `version/name`, module, names)
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("v1/invoke", "invoke", ("InvokeService",)),
    ("v1/state", "state", ("GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState", "ExecuteStateTransaction")),
    ("v1alpha1/state", "state", ("QueryStateAlpha1",)),
    ("v1/publish", "pubsub", ("PublishEvent", "BulkPublishEvent")),
    ("v1alpha1/publish", "pubsub", ("BulkPublishEventAlpha1",)),
    ("v1alpha1/subscribe", "subscribe", ("SubscribeTopicEventsAlpha1",)),
    ("v1/bindings", "bindings", ("InvokeBinding",)),
    ("v1/secrets", "bindings", ("GetSecret", "GetBulkSecret")),
    (
        "v1/actors",
        "actors",
        (
            "RegisterActorTimer", "UnregisterActorTimer", "RegisterActorReminder", "UnregisterActorReminder",
            "UnregisterActorRemindersByType", "ListActorReminders", "GetActorReminder", "GetActorState",
            "ExecuteActorStateTransaction", "InvokeActor",
        ),
    ),
    ("v1alpha1/actors", "actors", ("SubscribeActorEventsAlpha1",)),
    ("v1/configuration", "configuration", _CONFIGURATION),
    ("v1alpha1/configuration", "configuration", tuple(f"{name}Alpha1" for name in _CONFIGURATION)),
    ("v1alpha1/lock", "lock", ("TryLockAlpha1",)),
    ("v1alpha1/unlock", "lock", ("UnlockAlpha1",)),
    ("v1alpha1/crypto", "crypto", ("EncryptAlpha1", "DecryptAlpha1")),
    ("v1alpha1/subtlecrypto", "crypto", tuple(f"Subtle{name}Alpha1" for name in _SUBTLE)),
    ("v1/metadata", "metadata", ("GetMetadata", "SetMetadata")),
    ("v1/shutdown", "metadata", ("Shutdown",)),
    ("v1beta1/workflows", "workflow", tuple(f"{name}WorkflowBeta1" for name in _WORKFLOW)),
    ("v1alpha1/workflows", "workflow", tuple(f"{name}WorkflowAlpha1" for name in _WORKFLOW)),
    ("v1/jobs", "jobs", _JOBS),
    ("v1alpha1/jobs", "jobs", tuple(f"{name}Alpha1" for name in _JOBS)),
    ("v1alpha1/conversation", "conversation", ("ConverseAlpha1",)),
    ("v1alpha2/conversation", "conversation", ("ConverseAlpha2",)),
)  # fmt: skip


def allowed_paths(allowed: frozenset[str], denied: frozenset[str]) -> frozenset[str] | None:
    """Paths of the service Dapr that the lists leave (deny first); None when there are no lists."""
    if not allowed and not denied:
        return None
    return frozenset(
        DAPR + name for group, _, names in GROUPS for name in names if group not in denied and (not allowed or group in allowed)
    )
