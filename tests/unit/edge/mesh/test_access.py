"""Access lists: by caller, path and verb, as daprd decides."""

from __future__ import annotations

import pytest

from edge.config.configuration import AccessControl, AppOperation, AppPolicy
from edge.mesh.access import AccessError, AccessList, Identity

CALLER = Identity("public", "default", "kitchen")
OPERATIONS = (
    AppOperation("/jam", ("GET",), "allow"),
    AppOperation("/tin/*", ("*",), "allow"),
    AppOperation("/pots/**", ("POST", "PUT"), "allow"),
    AppOperation("/lid*/x", ("GET",), "allow"),
)
POLICIES = (AppPolicy("kitchen", "deny", "public", "default", OPERATIONS),)


def rules(default: str = "allow", policies: tuple[AppPolicy, ...] | None = POLICIES, *, http: bool = True) -> AccessList:
    return AccessList(AccessControl(default, "public", policies), http=http)


@pytest.mark.parametrize(
    ("method", "verb", "allowed"),
    [
        ("jam", "GET", True),
        ("JAM", "GET", True),
        ("jam", "POST", False),
        ("jam/plum", "GET", True),
        ("jamboree", "GET", False),
        ("tin/plum", "DELETE", True),
        ("tin/plum/x", "GET", False),
        ("pots/a/b", "PUT", True),
        ("pots/a/b", "GET", False),
        ("lid7/x", "GET", True),
        ("lid7/y", "GET", False),
        ("other", "GET", False),
    ],
)
def test_the_operation_and_its_verb_decide(method: str, verb: str, allowed: bool) -> None:
    assert (rules().denied(CALLER, method, verb) is None) is allowed


@pytest.mark.parametrize(
    "caller",
    [None, Identity("public", "default", "cellar"), Identity("other", "default", "kitchen"), Identity("public", "prod", "kitchen")],
    ids=["nobody", "another app", "another trust domain", "another namespace"],
)
def test_callers_without_a_policy_get_the_default(caller: Identity | None) -> None:
    assert rules("allow").denied(caller, "jam", "POST") is None
    assert rules("deny").denied(caller, "jam", "GET") is not None


def test_without_a_default_policies_mean_deny() -> None:
    assert rules("").denied(None, "jam", "GET") is not None
    assert rules("", ()).open
    assert rules("", None).denied(None, "jam", "GET") is not None
    assert AccessList(AccessControl("", ""), http=True).open


def test_grpc_methods_have_no_verb_and_their_case_counts() -> None:
    listed = rules("deny", (AppPolicy("kitchen", "deny", "public", "default", (AppOperation("/p.S/Get", (), "allow"),)),), http=False)

    assert listed.denied(CALLER, "/p.S/Get", "NONE") is None
    assert listed.denied(CALLER, "/p.s/get", "NONE") is not None


def test_a_refusal_says_who_what_and_how() -> None:
    assert rules().denied(CALLER, "jam", "POST") == (
        "access control policy has denied access to id: spiffe://public/ns/default/kitchen operation: jam verb: POST"
    )


def test_a_policy_without_namespace_is_refused() -> None:
    with pytest.raises(AccessError, match=r"missing namespace for apps: \[kitchen\]"):
        rules(policies=(AppPolicy("kitchen", "deny", "public", "", ()),))


@pytest.mark.parametrize(
    ("url", "identity"),
    [("spiffe://public/ns/default/kitchen", CALLER), ("spiffe://public/kitchen", None), ("https://public/ns/default/kitchen", None)],
)
def test_an_identity_is_read_from_a_certificate_s_uri(url: str, identity: Identity | None) -> None:
    assert Identity.parse(url) == identity
