"""Every call of the published Python SDK to the lifecycle API, by its asynchronous classes or its synchronous ones.

Usage: lifecycle_surface.py HOST:PORT IMAGE MODE

MODE is "async" or "sync". Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ...}. Checks run in order; the last one
sees to it that no public method has been left out.
"""

import asyncio
import inspect
import sys
from datetime import datetime, timedelta, timezone

import httpx
from checks import run_checks
from opensandbox import Sandbox, SandboxSync
from opensandbox.config import ConnectionConfig, ConnectionConfigSync
from opensandbox.exceptions import (
    InvalidArgumentException,
    PoolEmptyException,
    SandboxApiException,
    SandboxRateLimitException,
)
from opensandbox.manager import SandboxManager
from opensandbox.models.sandboxes import (
    Credential,
    CredentialAuth,
    CredentialBinding,
    CredentialMatch,
    CredentialMutationSet,
    CredentialProxyConfig,
    Host,
    InlineCredentialSource,
    NetworkPolicy,
    NetworkRule,
    PlatformSpec,
    SandboxFilter,
    SnapshotFilter,
    Volume,
)
from opensandbox.models.templates import CreateTemplateRequest, TemplateFilter, TemplateReadiness
from opensandbox.pool import (
    AcquirePolicy,
    InMemoryAsyncPoolStateStore,
    InMemoryPoolStateStore,
    PoolCreationSpec,
    SandboxPoolAsync,
    SandboxPoolManagerAsync,
    SandboxPoolManagerSync,
    SandboxPoolSync,
)
from opensandbox.sync.manager import SandboxManagerSync

DOMAIN, IMAGE, MODE = sys.argv[1:]
IS_ASYNC = MODE == "async"
BOX = Sandbox if IS_ASYNC else SandboxSync
MANAGER = SandboxManager if IS_ASYNC else SandboxManagerSync
POOL = SandboxPoolAsync if IS_ASYNC else SandboxPoolSync
POOL_MANAGER = SandboxPoolManagerAsync if IS_ASYNC else SandboxPoolManagerSync
STORE = InMemoryAsyncPoolStateStore if IS_ASYNC else InMemoryPoolStateStore
CONFIG = (ConnectionConfig if IS_ASYNC else ConnectionConfigSync)(
    domain=DOMAIN, request_timeout=timedelta(seconds=60)
)
RESOURCE = {"cpu": "0.5", "memory": "512Mi"}
MISSING = "00000000-0000-4000-8000-000000000000"
# Held by other scripts of this folder, to the daemon inside the sandbox.
ELSEWHERE = {"commands", "files", "files_with_identity", "isolation", "metrics", "get_metrics", "diagnostics"}
CALLED = set()


class State:
    sandbox: object
    manager: object


async def call(subject, method, *args, **more):
    """Calls a method, or reads a property, of either kind of class, and remembers that."""
    owner = subject if inspect.isclass(subject) else type(subject)
    CALLED.add((owner, method))
    member = getattr(subject, method)
    if not callable(member) or inspect.isclass(member):
        return member
    result = member(*args, **more)
    return await result if inspect.isawaitable(result) else result


async def refused(status, code, subject, method, *args, **more):
    try:
        await call(subject, method, *args, **more)
    except SandboxApiException as error:
        assert error.status_code == status, error
        assert code in (error.error.code, None) or code in str(error), (error.error, error)
        assert error.request_id, error
        return error
    raise AssertionError(f"{method} was not refused")


async def check_create_with_everything_that_this_server_takes():
    State.sandbox = await call(
        BOX,
        "create",
        IMAGE,
        timeout=timedelta(minutes=5),
        env={"A": "1"},
        metadata={"surface": MODE, "empty": ""},
        resource=RESOURCE,
        resource_requests={"cpu": "100m"},
        platform=PlatformSpec(os="linux", arch="amd64"),
        network_policy=NetworkPolicy(
            default_action="deny", egress=[NetworkRule(action="allow", target="one.example")]
        ),
        credential_proxy=CredentialProxyConfig(enabled=True),
        extensions={"opensandbox.extensions.team": "a", "unknown": "b"},
        entrypoint=["sh", "-c", "echo from the entrypoint; exec sleep 600"],
        connection_config=CONFIG,
    )
    info = await call(State.sandbox, "get_info")
    assert info.id == State.sandbox.id and info.status.state == "Running", info
    assert info.metadata == {"surface": MODE, "empty": ""}, info.metadata
    assert (info.platform.os, info.platform.arch) == ("linux", "amd64"), info.platform
    assert info.extensions == {"opensandbox.extensions.team": "a"}, info.extensions
    assert info.image.image == IMAGE and info.snapshot_id is None, info
    assert 290 < (info.expires_at - info.created_at).total_seconds() <= 300, info


async def check_readiness_and_what_a_sandbox_knows_of_itself():
    await call(State.sandbox, "check_ready", timedelta(seconds=10), timedelta(milliseconds=50))
    assert await call(State.sandbox, "is_healthy")
    assert (await call(State.sandbox, "connection_config")).domain == DOMAIN
    assert await call(State.sandbox, "origin") == "unknown"


async def check_endpoints():
    for port in (44772, 18080, 8080):
        endpoint = await call(State.sandbox, "get_endpoint", port)
        assert endpoint.endpoint.endswith(f"/sandboxes/{State.sandbox.id}/proxy/{port}"), endpoint
        assert bool(endpoint.headers) == (port != 8080), endpoint
    await refused(400, "DOCKER::INVALID_PORT", State.sandbox, "get_endpoint", 65536)
    await refused(400, "SANDBOX::API_NOT_SUPPORTED", State.sandbox, "get_signed_endpoint", 8080, 4_000_000_000)


async def check_metadata_and_renewal():
    info = await call(State.sandbox, "patch_metadata", {"empty": None, "stage": "two"})
    assert info.metadata == {"surface": MODE, "stage": "two"}, info.metadata
    await refused(400, "INVALID_METADATA_LABEL", State.sandbox, "patch_metadata", {"opensandbox.io/id": "x"})
    await refused(400, "SANDBOX::INVALID_METADATA_LABEL", State.sandbox, "patch_metadata", {"title": "a b"})
    renewed = await call(State.sandbox, "renew", timedelta(hours=24))
    assert (await call(State.sandbox, "get_info")).expires_at == renewed.expires_at, renewed
    # Shorter than before, as clients do.
    renewed = await call(State.sandbox, "renew", timedelta(minutes=10))
    assert (renewed.expires_at - datetime.now(timezone.utc)).total_seconds() < 601, renewed
    await refused(400, "DOCKER::INVALID_EXPIRATION", State.sandbox, "renew", timedelta(seconds=-5))


async def check_egress_policy():
    assert (await call(State.sandbox, "get_egress_policy")).default_action == "deny"
    await call(State.sandbox, "patch_egress_rules", [NetworkRule(action="allow", target="*.two.example")])
    await call(State.sandbox, "delete_egress_rules", ["one.example"])
    policy = await call(State.sandbox, "get_egress_policy")
    assert [rule.target for rule in policy.egress] == ["*.two.example"], policy


async def check_diagnostics():
    State.manager = await call(MANAGER, "create", connection_config=CONFIG)
    for _ in range(100):
        logs = await call(State.sandbox, "get_diagnostic_logs", "container")
        if logs.content:
            break
        await asyncio.sleep(0.05)
    assert (logs.kind, logs.delivery, logs.content) == ("logs", "inline", "from the entrypoint\n"), logs
    events = await call(State.manager, "get_diagnostic_events", State.sandbox.id, " Runtime ")
    assert events.scope == "runtime" and "Running" in events.content, events
    assert (await call(State.sandbox, "get_diagnostic_events", "all")).warnings is not None
    assert (await call(State.manager, "get_diagnostic_logs", State.sandbox.id, "all")).content == logs.content
    await refused(400, "DIAGNOSTICS_SCOPE_UNSUPPORTED", State.sandbox, "get_diagnostic_logs", "network")


async def check_manager_of_sandboxes():
    manager, id = State.manager, State.sandbox.id
    assert (await call(manager, "connection_config")).domain == DOMAIN
    assert (await call(manager, "get_sandbox_info", id)).id == id
    page = await call(
        manager,
        "list_sandbox_infos",
        SandboxFilter(states=["Pending", "Running", "Paused", "Failed"], metadata={"surface": MODE}, page_size=50),
    )
    assert [info.id for info in page.sandbox_infos] == [id] and not page.pagination.has_next_page, page
    page = await call(manager, "list_sandbox_infos", SandboxFilter(metadata={"surface": "a=b&c d/ü"}))
    assert page.sandbox_infos == [] and page.pagination.total_pages == 0, page
    assert (await call(manager, "patch_sandbox_metadata", id, {"by": "manager"})).metadata["by"] == "manager"
    assert (await call(manager, "renew_sandbox", id, timedelta(minutes=15))).expires_at


async def check_pause_and_resume():
    manager, id = State.manager, State.sandbox.id
    await call(State.sandbox, "pause")
    await refused(409, "DOCKER::SANDBOX_NOT_RUNNING", State.sandbox, "pause")
    assert (await call(State.sandbox, "get_info")).status.state == "Paused"
    resumed = await call(BOX, "resume", id, connection_config=CONFIG)
    assert await call(resumed, "is_healthy")
    await call(resumed, "close")
    await refused(409, "DOCKER::SANDBOX_NOT_PAUSED", manager, "resume_sandbox", id)
    await call(manager, "pause_sandbox", id)
    await call(manager, "resume_sandbox", id)
    connected = await call(BOX, "connect", id, connection_config=CONFIG)
    assert connected.id == id
    await call(connected, "close")


async def check_snapshots():
    manager, id = State.manager, State.sandbox.id
    await call(State.sandbox.files, "write_file", "/workspace/kept", "as it was")
    taken = await call(State.sandbox, "create_snapshot", name="s")
    assert (taken.sandbox_id, taken.name, taken.status.state) == (id, "s", "Creating"), taken
    other = await call(manager, "create_snapshot", id)
    assert other.name is None, other
    for snapshot in (taken, other):
        for _ in range(200):
            found = await call(manager, "get_snapshot", snapshot.id)
            if found.status.state != "Creating":
                break
            await asyncio.sleep(0.05)
        assert (found.status.state, found.status.reason) == ("Ready", "snapshot_runtime_ready"), found
    page = await call(manager, "list_snapshots", SnapshotFilter(sandbox_id=id, name="s", states=["Ready"], page_size=5))
    assert [one.id for one in page.snapshot_infos] == [taken.id] and page.pagination.page_size == 5, page
    copy = await call(BOX, "create", snapshot_id=taken.id, resource=RESOURCE, connection_config=CONFIG)
    assert await call(copy.files, "read_file", "/workspace/kept") == "as it was"
    info = await call(copy, "get_info")
    assert info.snapshot_id == taken.id and info.image is None, info
    await refused(409, "SNAPSHOT::DELETE_CONFLICT", manager, "delete_snapshot", taken.id)
    await call(copy, "kill")
    await call(copy, "close")
    for snapshot in (taken, other):
        await call(manager, "delete_snapshot", snapshot.id)
        await refused(404, "SNAPSHOT::NOT_FOUND", manager, "get_snapshot", snapshot.id)


async def check_snapshots_that_are_not_there():
    manager = State.manager
    await refused(404, "SNAPSHOT::NOT_FOUND", manager, "get_snapshot", "none")
    await refused(404, "SNAPSHOT::NOT_FOUND", manager, "delete_snapshot", "none")
    await refused(404, "SNAPSHOT::NOT_FOUND", BOX, "create", snapshot_id="none", resource=RESOURCE, connection_config=CONFIG)


async def check_templates():
    manager = State.manager
    readiness = TemplateReadiness(probe="cmd://true")
    made = await call(manager, "create_template", CreateTemplateRequest(image=IMAGE, publish=f"surface-{MODE}", readiness=readiness))
    for _ in range(300):
        info = await call(manager, "get_template", made.template_id)
        if info.status.phase not in ("Pending", "Building"):
            break
        await asyncio.sleep(0.1)
    assert info.status.phase == "Succeeded", info
    page = await call(manager, "list_templates", TemplateFilter(page_size=200))
    assert made.template_id in [one.template_id for one in page.template_infos], page
    sandbox = await call(
        BOX, "create_from_template", made.template_id, timeout=timedelta(minutes=5), connection_config=CONFIG
    )
    assert await call(sandbox, "origin") == "template"
    assert (await call(sandbox, "get_egress_policy")).default_action in ("allow", "deny")
    await call(sandbox, "destroy")
    await refused(404, "DOCKER::SANDBOX_NOT_FOUND", manager, "get_sandbox_info", sandbox.id)
    await call(manager, "delete_template", made.template_id)
    await refused(
        404,
        "FSB::TEMPLATE_NOT_FOUND",
        BOX,
        "create_from_template",
        made.template_id,
        timeout=timedelta(minutes=5),
        connection_config=CONFIG,
    )


async def check_what_a_create_may_not_ask_for_is_said():
    async def create(status, code, **more):
        error = await refused(status, code, BOX, "create", IMAGE, connection_config=CONFIG, **{"resource": RESOURCE, **more})
        return str(error)

    volume = Volume(name="v", mount_path="/mnt/v", host=Host(path="/srv/not-allowed"))
    assert "allowed" in await create(400, "VOLUME::HOST_PATH_NOT_ALLOWED", volumes=[volume])
    assert "memory" in await create(400, "SANDBOX::INVALID_PARAMETER", resource={"memory": "much"})
    assert "platform" in await create(400, "SANDBOX::INVALID_PARAMETER", platform=PlatformSpec(os="windows", arch="amd64"))
    await create(404, "KUBERNETES::POOL_NOT_FOUND", extensions={"poolRef": "none"})
    await create(422, "GENERAL::INVALID_REQUEST", timeout=timedelta(seconds=5))
    await create(422, "GENERAL::INVALID_REQUEST", credential_proxy=CredentialProxyConfig(enabled=True))
    try:
        await call(BOX, "create", connection_config=CONFIG)
    except InvalidArgumentException:
        pass
    else:
        raise AssertionError("a create of nothing was not refused by the SDK")


async def check_the_credential_vault():
    vault = await call(State.sandbox, "credential_vault")

    async def ask(method, *args, **more):
        result = getattr(vault, method)(*args, **more)
        return await result if inspect.isawaitable(result) else result

    async def is_refused(status, method, *args, **more):
        try:
            await ask(method, *args, **more)
        except SandboxApiException as error:
            assert error.status_code == status, error
            return str(error)
        raise AssertionError(f"{method} was not refused")

    await is_refused(404, "get")
    await call(State.sandbox, "patch_egress_rules", [NetworkRule(action="allow", target="*.vault.example")])
    match = CredentialMatch(hosts=["api.vault.example"], paths=["/v1/*"])
    binding = CredentialBinding(name="an api", match=match, auth=CredentialAuth(type="bearer", credential="a/key"))
    key = Credential(name="a/key", source=InlineCredentialSource(value="secret-1"))
    state = await ask("create", credentials=[key], bindings=[binding])
    assert state.revision == 1 and state.bindings[0].match.ports == [443], state
    await is_refused(409, "create", credentials=[key], bindings=[binding])
    assert (await ask("get_credential", "a/key")).source_type == "inline"
    assert (await ask("get_binding", "an api")).auth.type == "bearer"
    assert [found.name for found in await ask("list_credentials")] == ["a/key"]
    assert [found.name for found in await ask("list_bindings")] == ["an api"]
    new = Credential(name="a/key", source=InlineCredentialSource(value="secret-2"))
    state = await ask("patch", expected_revision=1, credentials=CredentialMutationSet(replace=[new]))
    assert (state.revision, state.credentials[0].revision) == (2, 2), state
    await is_refused(409, "patch", expected_revision=1, credentials=CredentialMutationSet(replace=[new]))
    try:
        await call(State.sandbox, "delete_egress_rules", ["*.vault.example"])
    except SandboxApiException as error:
        assert error.status_code == 400, error
    else:
        raise AssertionError("a binding was left without its rule")
    assert "secret-" not in str(await ask("get"))
    await ask("delete")
    await is_refused(404, "get")
    await call(State.sandbox, "delete_egress_rules", ["*.vault.example"])


async def check_a_tenant_that_asks_too_often_is_told_when_to_come_back():
    url = f"http://{DOMAIN}/v1/admin/tenants/default/quota"
    assert httpx.put(url, json={"createsPerMinute": 0}).status_code == 200
    try:
        await call(BOX, "create", IMAGE, resource=RESOURCE, connection_config=CONFIG)
    except SandboxRateLimitException as error:
        assert error.status_code == 429 and 0 < error.retry_after.total_seconds() <= 60, vars(error)
    else:
        raise AssertionError("was not refused")
    finally:
        httpx.delete(url)


async def check_pools_of_the_client():
    store = STORE()
    pool = POOL(
        pool_name=f"pool-{MODE}",
        max_idle=2,
        state_store=store,
        connection_config=CONFIG,
        creation_spec=PoolCreationSpec(image=IMAGE, resource=RESOURCE, metadata={"pool": MODE}),
        warmup_health_check_polling_interval=timedelta(milliseconds=100),
    )
    await call(pool, "start")
    for _ in range(600):
        if (await call(pool, "snapshot")).idle_count == 2:
            break
        await asyncio.sleep(0.05)
    assert len(await call(pool, "snapshot_idle_entries")) == 2
    sandbox = await call(pool, "acquire", timedelta(minutes=5), AcquirePolicy.FAIL_FAST)
    assert (await call(sandbox, "get_info")).metadata == {"pool": MODE}
    await call(sandbox, "kill")
    await call(sandbox, "close")
    await call(pool, "resize", 0)
    await call(pool, "release_all_idle")
    await call(pool, "release_all_idle_parallel")
    try:
        await call(pool, "acquire", None, AcquirePolicy.FAIL_FAST)
    except PoolEmptyException:
        pass
    else:
        raise AssertionError("an empty pool gave a sandbox")
    await call(pool, "shutdown")
    pools = POOL_MANAGER(state_store=store, connection_config=CONFIG)
    assert (await call(pools, "destroy", f"pool-{MODE}")).persistent_state_cleared
    for _ in range(200):
        page = await call(State.manager, "list_sandbox_infos", SandboxFilter(metadata={"pool": MODE}, page_size=50))
        if page.sandbox_infos == []:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(page)


async def check_unknown_ids_and_a_second_delete_are_not_found():
    manager = State.manager
    for name, args in {
        "get_sandbox_info": (),
        "kill_sandbox": (),
        "pause_sandbox": (),
        "resume_sandbox": (),
        "renew_sandbox": (timedelta(minutes=5),),
        "patch_sandbox_metadata": ({"a": "b"},),
        "create_snapshot": (),
        "get_diagnostic_logs": ("container",),
        "get_diagnostic_events": ("runtime",),
    }.items():
        await refused(404, "DOCKER::SANDBOX_NOT_FOUND", manager, name, MISSING, *args)
    await refused(404, "DOCKER::SANDBOX_NOT_FOUND", BOX, "connect", MISSING, connection_config=CONFIG)
    await call(State.sandbox, "kill")
    await refused(404, "DOCKER::SANDBOX_NOT_FOUND", State.sandbox, "kill")
    await refused(404, "DOCKER::SANDBOX_NOT_FOUND", State.sandbox, "get_info")
    await call(State.sandbox, "close")
    await call(manager, "close")


async def check_every_public_method_was_called():
    left = {
        f"{owner.__name__}.{name}"
        for owner in (BOX, MANAGER, POOL, POOL_MANAGER)
        for name in dir(owner)
        if not name.startswith("_") and name not in ELSEWHERE and (owner, name) not in CALLED
    }
    assert left == set(), left


run_checks(globals(), seconds=120)
