"""Templates and pools by the published Python SDK.

Usage: templates_surface.py HOST:PORT IMAGE

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ...}. Checks run in order; the pool "warm" is there already.
"""

import asyncio
import json
import sys
import traceback
from datetime import timedelta

from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.exceptions import SandboxApiException
from opensandbox.manager import SandboxManager
from opensandbox.models.sandboxes import NetworkPolicy, NetworkRule
from opensandbox.models.templates import CreateTemplateRequest, TemplateFilter, TemplateReadiness

DOMAIN, IMAGE = sys.argv[1], sys.argv[2]
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))


class State:
    manager: SandboxManager
    template: str
    sandbox: Sandbox


async def check_create_template():
    State.manager = await SandboxManager.create(connection_config=CONFIG)
    made = await State.manager.create_template(
        CreateTemplateRequest(
            image=IMAGE,
            publish="s3://bucket/app",
            env={"FROM": "template"},
            metadata={"team": "a-b.c"},
            readiness=TemplateReadiness(probe="cmd://test -d /workspace"),
        )
    )
    assert made.status.phase in ("Pending", "Building"), made
    State.template = made.template_id


async def check_template_succeeds():
    for _ in range(300):
        info = await State.manager.get_template(State.template)
        if info.status.phase not in ("Pending", "Building"):
            break
        await asyncio.sleep(0.1)
    assert info.status.phase == "Succeeded" and info.status.manifest_ref, info
    assert info.env == {"FROM": "template"} and info.format == "overlaybd", info


async def check_list_templates():
    page = await State.manager.list_templates(TemplateFilter(metadata={"team": "a-b.c"}))
    assert [info.template_id for info in page.template_infos] == [State.template], page
    page = await State.manager.list_templates(TemplateFilter(metadata={"team": "other"}))
    assert page.template_infos == [] and page.pagination.total_items == 0, page


async def check_create_from_template():
    State.sandbox = await Sandbox.create_from_template(
        State.template,
        timeout=timedelta(minutes=5),
        metadata={"m": "x"},
        network_policy=NetworkPolicy(
            default_action="deny", egress=[NetworkRule(action="allow", target="a.example")]
        ),
        connection_config=CONFIG,
    )
    done = await State.sandbox.commands.run("echo $FROM")
    assert done.logs.stdout[0].text.strip() == "template", done.logs


async def check_policy_of_template_sandbox():
    connected = await Sandbox.connect(State.sandbox.id, connection_config=CONFIG)
    for sandbox in (State.sandbox, connected):
        policy = await sandbox.get_egress_policy()
        assert policy.egress[-1].target == "a.example", policy
    await connected.patch_egress_rules([NetworkRule(action="allow", target="b.example")])
    targets = {rule.target for rule in (await State.sandbox.get_egress_policy()).egress}
    assert targets == {"a.example", "b.example"}, targets
    await connected.close()
    await State.sandbox.kill()
    await State.sandbox.close()


async def check_delete_template():
    await State.manager.delete_template(State.template)
    try:
        await State.manager.get_template(State.template)
        raise AssertionError("a deleted template was found")
    except SandboxApiException as error:
        assert error.status_code == 404 and error.error.code == "FSB::TEMPLATE_NOT_FOUND", error


async def check_create_by_pool_ref_with_defaults():
    sandbox = await Sandbox.create(IMAGE, extensions={"poolRef": "warm"}, connection_config=CONFIG)
    info = await sandbox.get_info()
    assert info.entrypoint == ["sleep", "1000"], info
    done = await sandbox.commands.run("echo warm")
    assert done.logs.stdout[0].text.strip() == "warm", done.logs
    await sandbox.kill()
    await sandbox.close()


async def main():
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        result = {"name": name, "ok": True}
        try:
            await asyncio.wait_for(check(), 90)
        except BaseException:
            result = {"name": name, "ok": False, "detail": traceback.format_exc(limit=-6)}
        print(json.dumps(result), flush=True)


asyncio.run(main())
