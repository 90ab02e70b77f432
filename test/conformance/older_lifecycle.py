"""Every call to the lifecycle API of the Python SDKs that agent toolkits still pin, in whatever old version is installed.

Usage: older_lifecycle.py HOST:PORT IMAGE

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ..., "missing": ...}; "missing" says that this version of the
SDK has no such call. Checks run in order, in one sandbox; the last one sees to it that no public method has been left out.
"""

import asyncio
import inspect
import sys
from datetime import datetime, timedelta, timezone

from checks import Missing, run_checks
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.exceptions import SandboxApiException
from opensandbox.manager import SandboxManager
from opensandbox.models.sandboxes import NetworkPolicy, NetworkRule, SandboxFilter

DOMAIN, IMAGE = sys.argv[1:]
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))
MISSING = "00000000-0000-4000-8000-000000000000"
# Held by execd_surface.py, to the daemon inside the sandbox; the vault is none of this server's.
ELSEWHERE = {"commands", "files", "files_with_identity", "isolation", "metrics", "get_metrics", "diagnostics", "credential_vault"}
CALLED = set()


class State:
    sandbox: Sandbox
    manager: SandboxManager


async def call(subject, method, *args, **more):
    owner = subject if inspect.isclass(subject) else type(subject)
    if not hasattr(owner, method):
        raise Missing()
    CALLED.add((owner, method))
    member = getattr(subject, method)
    if not callable(member):
        return member
    result = member(*args, **more)
    return await result if inspect.isawaitable(result) else result


async def refused(status, subject, method, *args, **more):
    try:
        await call(subject, method, *args, **more)
    except SandboxApiException as error:
        assert error.status_code == status, error
        return
    raise AssertionError(f"{method} was not refused")


async def check_create():
    State.sandbox = await call(
        Sandbox,
        "create",
        IMAGE,
        timeout=timedelta(minutes=5),
        env={"A": "1"},
        metadata={"surface": "older"},
        resource={"cpu": "0.5", "memory": "512Mi"},
        network_policy=NetworkPolicy(defaultAction="deny", egress=[NetworkRule(action="allow", target="one.example")]),
        entrypoint=["sh", "-c", "echo from the entrypoint; exec sleep 600"],
        connection_config=CONFIG,
    )
    State.manager = await call(SandboxManager, "create", connection_config=CONFIG)
    info = await call(State.sandbox, "get_info")
    assert (info.id, info.status.state, info.metadata) == (State.sandbox.id, "Running", {"surface": "older"}), info
    assert info.expires_at > datetime.now(timezone.utc), info
    for subject in (State.sandbox, State.manager):
        assert await call(subject, "connection_config")


async def check_readiness_and_endpoint():
    await call(State.sandbox, "check_ready", timedelta(seconds=10), timedelta(milliseconds=50))
    assert await call(State.sandbox, "is_healthy")
    endpoint = await call(State.sandbox, "get_endpoint", 8080)
    assert endpoint.endpoint.endswith(f"/sandboxes/{State.sandbox.id}/proxy/8080"), endpoint


async def check_signed_endpoints_are_refused():
    await refused(400, State.sandbox, "get_signed_endpoint", 8080, 4_000_000_000)


async def check_list_and_info_by_the_manager():
    listed = await call(
        State.manager, "list_sandbox_infos", SandboxFilter(states=["Running"], metadata={"surface": "older"}, page_size=10)
    )
    assert [info.id for info in listed.sandbox_infos] == [State.sandbox.id], listed
    assert (await call(State.manager, "get_sandbox_info", State.sandbox.id)).id == State.sandbox.id


async def check_renew():
    await call(State.sandbox, "renew", timedelta(hours=24))
    await call(State.manager, "renew_sandbox", State.sandbox.id, timedelta(minutes=10))
    left = (await call(State.sandbox, "get_info")).expires_at - datetime.now(timezone.utc)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10), left


async def check_pause_and_resume():
    await call(State.sandbox, "pause")
    resumed = await call(Sandbox, "resume", State.sandbox.id, connection_config=CONFIG)
    await call(resumed, "close")
    await call(State.manager, "pause_sandbox", State.sandbox.id)
    await call(State.manager, "resume_sandbox", State.sandbox.id)
    connected = await call(Sandbox, "connect", State.sandbox.id, connection_config=CONFIG)
    assert (await call(connected, "get_info")).status.state == "Running"
    await call(connected, "close")


async def check_egress_policy():
    await call(State.sandbox, "patch_egress_rules", [NetworkRule(action="allow", target="two.example")])
    policy = await call(State.sandbox, "get_egress_policy")
    assert [rule.target for rule in policy.egress] == ["two.example", "one.example"], policy


async def check_egress_rules_are_deleted():
    await call(State.sandbox, "delete_egress_rules", ["two.example"])
    assert len((await call(State.sandbox, "get_egress_policy")).egress) == 1


async def check_metadata():
    info = await call(State.sandbox, "patch_metadata", {"stage": "two"})
    assert info.metadata == {"surface": "older", "stage": "two"}, info
    await call(State.manager, "patch_sandbox_metadata", State.sandbox.id, {"stage": None})


async def check_diagnostics():
    assert (await call(State.sandbox, "get_diagnostic_logs", "container")).content == "from the entrypoint\n"
    assert "Running" in (await call(State.sandbox, "get_diagnostic_events", "runtime")).content
    assert (await call(State.manager, "get_diagnostic_logs", State.sandbox.id, "all")).kind == "logs"
    assert (await call(State.manager, "get_diagnostic_events", State.sandbox.id, "all")).kind == "events"


async def check_snapshots():
    taken = [await call(State.sandbox, "create_snapshot", "s")]
    from opensandbox.models.sandboxes import SnapshotFilter

    taken.append(await call(State.manager, "create_snapshot", State.sandbox.id, "t"))
    for snapshot in taken:
        while (await call(State.manager, "get_snapshot", snapshot.id)).status.state == "Creating":
            await asyncio.sleep(0.05)
    page = await call(State.manager, "list_snapshots", SnapshotFilter(states=["Ready"]))
    assert {one.id for one in page.snapshot_infos} == {one.id for one in taken}, page
    copy = await call(Sandbox, "create", snapshot_id=taken[0].id, connection_config=CONFIG)
    assert (await call(copy, "get_info")).snapshot_id == taken[0].id
    await call(copy, "kill")
    await call(copy, "close")
    for snapshot in taken:
        await call(State.manager, "delete_snapshot", snapshot.id)
    await refused(404, State.manager, "get_snapshot", "none")
    await refused(404, State.manager, "delete_snapshot", "none")


async def check_unknown_ids_are_not_found():
    for method, args in {
        "get_sandbox_info": (),
        "kill_sandbox": (),
        "pause_sandbox": (),
        "resume_sandbox": (),
        "renew_sandbox": (timedelta(minutes=5),),
    }.items():
        await refused(404, State.manager, method, MISSING, *args)


async def check_kill_and_close():
    await call(State.sandbox, "kill")
    await refused(404, State.sandbox, "get_info")
    await refused(404, State.sandbox, "kill")
    await call(State.sandbox, "close")
    await call(State.manager, "close")


async def check_destroy():
    if not hasattr(Sandbox, "destroy"):
        raise Missing()
    sandbox = await call(Sandbox, "create", IMAGE, resource={"memory": "256Mi"}, connection_config=CONFIG)
    await call(sandbox, "destroy")
    await refused(404, Sandbox, "connect", sandbox.id, connection_config=CONFIG)


async def check_every_public_method_was_called():
    left = {
        f"{owner.__name__}.{name}"
        for owner in (Sandbox, SandboxManager)
        for name in dir(owner)
        if not name.startswith("_") and name not in ELSEWHERE and (owner, name) not in CALLED
    }
    assert left == set(), left


run_checks(globals())
