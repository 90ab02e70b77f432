"""The published Python SDK, unchanged, through the main job and every call that the server covers.

Usage: main_job.py HOST:PORT IMAGE

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ...}. Checks run in order, in one sandbox of their own.
"""

import asyncio
import io
import sys
import time
from datetime import datetime, timedelta, timezone

from checks import run_checks
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.config.connection_sync import ConnectionConfigSync
from opensandbox.exceptions import SandboxApiException, SandboxException
from opensandbox.manager import SandboxManager
from opensandbox.models.execd import ExecutionHandlers, RunCommandOpts
from opensandbox.models.filesystem import (
    ContentReplaceEntry,
    DirectoryListEntry,
    MoveEntry,
    SearchEntry,
    SetPermissionEntry,
    WriteEntry,
)
from opensandbox.models.sandboxes import (
    LifecycleHook,
    NetworkPolicy,
    NetworkRule,
    PeriodicLifecycleHook,
    SandboxFilter,
    SandboxLifecycle,
)
from opensandbox.sync.sandbox import SandboxSync

DOMAIN, IMAGE = sys.argv[1], sys.argv[2]
RESOURCE = {"cpu": "1", "memory": "512Mi"}
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))


class State:
    sandbox: Sandbox


async def check_create_with_everything():
    State.sandbox = await Sandbox.create(
        IMAGE,
        timeout=timedelta(minutes=5),
        env={"GREETING": "hello", "EMPTY": ""},
        metadata={"project": "conformance", "owner": "py"},
        resource=RESOURCE,
        entrypoint=["sleep", "600"],
        network_policy=NetworkPolicy(
            defaultAction="deny", egress=[NetworkRule(action="allow", target="one.example")]
        ),
        connection_config=CONFIG,
    )
    assert State.sandbox.id


async def check_get_info():
    info = await State.sandbox.get_info()
    assert info.status.state == "Running", info.status
    assert info.metadata == {"project": "conformance", "owner": "py"}, info.metadata
    assert info.entrypoint == ["sleep", "600"], info.entrypoint
    assert info.image.image == IMAGE, info.image
    assert info.expires_at > datetime.now(timezone.utc)


async def check_is_healthy():
    assert await State.sandbox.is_healthy()


async def check_run_prints_lines():
    execution = await State.sandbox.commands.run("echo one; echo two; echo oops >&2")
    assert "".join(m.text for m in execution.logs.stdout).replace("\n", "") == "onetwo", execution.logs
    assert [m.text.rstrip("\n") for m in execution.logs.stdout] == ["one", "two"], execution.logs
    assert [m.text.rstrip("\n") for m in execution.logs.stderr] == ["oops"], execution.logs
    assert execution.exit_code == 0 and execution.error is None


async def check_run_reports_exit_code():
    execution = await State.sandbox.commands.run("exit 7")
    assert execution.exit_code == 7, execution
    assert execution.error.name == "CommandExecError" and execution.error.value == "7", execution.error


async def check_run_argv():
    execution = await State.sandbox.commands.run(["echo", "a b", "$HOME"])
    assert execution.logs.stdout[0].text.rstrip("\n") == "a b $HOME", execution.logs


async def check_run_environment_and_directory():
    opts = RunCommandOpts(working_directory="/tmp", envs={"EXTRA": "x"})
    execution = await State.sandbox.commands.run('echo "$GREETING:$EMPTY:$EXTRA:$PWD"', opts=opts)
    assert execution.logs.stdout[0].text.rstrip("\n") == "hello::x:/tmp", execution.logs


async def check_run_as_user():
    opts = RunCommandOpts(uid=1000, gid=1000)
    execution = await State.sandbox.commands.run("id -u; id -g", opts=opts)
    assert [m.text.rstrip("\n") for m in execution.logs.stdout] == ["1000", "1000"], execution.logs


async def check_run_times_out():
    started = time.monotonic()
    execution = await State.sandbox.commands.run("sleep 30", opts=RunCommandOpts(timeout=timedelta(milliseconds=500)))
    assert execution.error is not None
    assert time.monotonic() - started < 10


async def check_run_streams():
    seen = []

    async def on_stdout(message):
        seen.append((message.text.rstrip("\n"), time.monotonic()))

    await State.sandbox.commands.run(
        "echo first; sleep 1; echo second", handlers=ExecutionHandlers(on_stdout=on_stdout)
    )
    assert [text for text, _ in seen] == ["first", "second"], seen
    assert seen[1][1] - seen[0][1] > 0.7, "the first line came only with the second"


async def check_run_unknown_directory_is_refused():
    try:
        await State.sandbox.commands.run("true", opts=RunCommandOpts(working_directory="/no/such/place"))
    except SandboxException as error:
        assert "working directory" in str(error).lower(), error
    else:
        raise AssertionError("no error")


async def check_background_status_and_logs():
    execution = await State.sandbox.commands.run("echo begin; sleep 0.5; echo end; exit 3", opts=RunCommandOpts(background=True))
    status = await State.sandbox.commands.get_command_status(execution.id)
    assert status.running is True, status
    for _ in range(100):
        status = await State.sandbox.commands.get_command_status(execution.id)
        if not status.running:
            break
        await asyncio.sleep(0.05)
    assert status.exit_code == 3, status
    logs = await State.sandbox.commands.get_background_command_logs(execution.id)
    assert logs.content == "begin\nend\n", logs
    rest = await State.sandbox.commands.get_background_command_logs(execution.id, cursor=logs.cursor)
    assert rest.content == "", rest


async def check_background_interrupt():
    execution = await State.sandbox.commands.run("sleep 60", opts=RunCommandOpts(background=True))
    await State.sandbox.commands.interrupt(execution.id)
    for _ in range(100):
        status = await State.sandbox.commands.get_command_status(execution.id)
        if not status.running:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("still running")


async def check_write_and_read():
    await State.sandbox.files.write_file("/tmp/t/ü ñ.txt", "line 1\nline 2\nline 3\n", mode=640)
    assert await State.sandbox.files.read_file("/tmp/t/ü ñ.txt") == "line 1\nline 2\nline 3\n"
    assert await State.sandbox.files.read_bytes("/tmp/t/ü ñ.txt", range_header="bytes=5-5") == b"1"
    assert (await State.sandbox.files.read_file("/tmp/t/ü ñ.txt", offset=2, limit=1)).strip() == "line 2"


async def check_write_many_and_binary():
    blob = bytes(range(256)) * 4000
    await State.sandbox.files.write_files(
        [
            WriteEntry(path="/tmp/t/a.bin", data=blob, mode=600),
            WriteEntry(path="/tmp/t/deep/er/b.txt", data="b"),
            WriteEntry(path="/tmp/t/stream.bin", data=io.BytesIO(blob)),
        ]
    )
    assert await State.sandbox.files.read_bytes("/tmp/t/a.bin") == blob
    chunks = [chunk async for chunk in await State.sandbox.files.read_bytes_stream("/tmp/t/stream.bin")]
    assert b"".join(chunks) == blob


async def check_file_info():
    info = (await State.sandbox.files.get_file_info(["/tmp/t/a.bin"]))["/tmp/t/a.bin"]
    assert (info.size, info.mode, info.owner, info.group) == (1024000, 600, "root", "root"), info
    assert abs((info.modified_at - datetime.now(timezone.utc)).total_seconds()) < 60, info


async def check_missing_file_is_an_error():
    for call in (State.sandbox.files.read_file("/tmp/none"), State.sandbox.files.get_file_info(["/tmp/none"])):
        try:
            await call
        except SandboxApiException as error:
            assert error.status_code == 404, error
            assert error.error.code == "FILE_NOT_FOUND", error.error
        else:
            raise AssertionError("no error")


async def check_directories():
    await State.sandbox.files.create_directories([WriteEntry(path="/tmp/t/dir/sub", mode=750)])
    entries = await State.sandbox.files.list_directory(DirectoryListEntry(path="/tmp/t"))
    names = {entry.path for entry in entries}
    assert {"/tmp/t/dir", "/tmp/t/a.bin", "/tmp/t/deep"} <= names, names
    await State.sandbox.files.delete_directories(["/tmp/t/dir"])
    assert not [e for e in await State.sandbox.files.list_directory(DirectoryListEntry(path="/tmp/t")) if e.path == "/tmp/t/dir"]


async def check_move_and_delete():
    await State.sandbox.files.move_files([MoveEntry(src="/tmp/t/deep/er/b.txt", dest="/tmp/t/c.txt")])
    assert await State.sandbox.files.read_file("/tmp/t/c.txt") == "b"
    await State.sandbox.files.delete_files(["/tmp/t/c.txt"])
    execution = await State.sandbox.commands.run("ls /tmp/t")
    assert "c.txt" not in "".join(m.text for m in execution.logs.stdout)


async def check_permissions():
    await State.sandbox.files.set_permissions([SetPermissionEntry(path="/tmp/t/a.bin", mode=755, owner="root")])
    info = (await State.sandbox.files.get_file_info(["/tmp/t/a.bin"]))["/tmp/t/a.bin"]
    assert info.mode == 755, info


async def check_replace():
    await State.sandbox.files.write_file("/tmp/t/r.txt", "aXbXc")
    results = await State.sandbox.files.replace_contents_detailed(
        [ContentReplaceEntry(path="/tmp/t/r.txt", old_content="X", new_content="-")]
    )
    assert [r.replaced_count for r in results] == [2], results
    assert await State.sandbox.files.read_file("/tmp/t/r.txt") == "a-b-c"


async def check_search():
    found = await State.sandbox.files.search(SearchEntry(path="/tmp/t", pattern="*.bin"))
    assert sorted(entry.path for entry in found) == ["/tmp/t/a.bin", "/tmp/t/stream.bin"], found


async def check_endpoint():
    await State.sandbox.commands.run("mkdir -p /tmp/www && echo served > /tmp/www/index.html && cd /tmp/www && python3 -m http.server 8000 >/dev/null 2>&1 &")
    endpoint = await State.sandbox.get_endpoint(8000)
    import urllib.request

    for _ in range(50):
        try:
            with urllib.request.urlopen(f"http://{endpoint.endpoint}/index.html") as answer:
                assert answer.read() == b"served\n"
                return
        except OSError:
            await asyncio.sleep(0.1)
    raise AssertionError(f"nothing answers at {endpoint.endpoint}")


async def check_egress_policy():
    policy = await State.sandbox.get_egress_policy()
    assert policy.default_action == "deny" and policy.egress[0].target == "one.example", policy
    await State.sandbox.patch_egress_rules([NetworkRule(action="allow", target="*.two.example")])
    targets = [rule.target for rule in (await State.sandbox.get_egress_policy()).egress]
    assert targets == ["*.two.example", "one.example"], targets
    await State.sandbox.delete_egress_rules(["one.example", "unknown.example"])
    targets = [rule.target for rule in (await State.sandbox.get_egress_policy()).egress]
    assert targets == ["*.two.example"], targets


async def check_patch_metadata():
    info = await State.sandbox.patch_metadata({"owner": None, "stage": "two"})
    assert info.metadata == {"project": "conformance", "stage": "two"}, info.metadata


async def check_renew():
    answer = await State.sandbox.renew(timedelta(minutes=20))
    left = (answer.expires_at - datetime.now(timezone.utc)).total_seconds()
    assert 1100 < left < 1300, left


async def check_pause_and_resume():
    await State.sandbox.pause()
    assert (await State.sandbox.get_info()).status.state == "Paused"
    resumed = await Sandbox.resume(State.sandbox.id, connection_config=CONFIG)
    assert (await resumed.get_info()).status.state == "Running"
    execution = await resumed.commands.run("echo back")
    assert execution.logs.stdout[0].text.rstrip("\n") == "back"
    await resumed.close()


async def check_connect():
    other = await Sandbox.connect(State.sandbox.id, connection_config=CONFIG)
    assert (await other.commands.run("true")).exit_code == 0
    await other.close()


async def check_manager_lists():
    manager = await SandboxManager.create(connection_config=CONFIG)
    page = await manager.list_sandbox_infos(SandboxFilter(states=["Running"], metadata={"project": "conformance"}, page_size=10))
    assert [info.id for info in page.sandbox_infos] == [State.sandbox.id], page
    assert page.pagination.total_items == 1, page.pagination
    page = await manager.list_sandbox_infos(SandboxFilter(metadata={"project": "another"}))
    assert page.sandbox_infos == []
    await manager.close()


async def check_sync_client():
    with SandboxSync.connect(State.sandbox.id, connection_config=ConnectionConfigSync(domain=DOMAIN)) as sandbox:
        assert sandbox.commands.run("echo sync").logs.stdout[0].text.rstrip("\n") == "sync"


async def check_server_proxy():
    config = ConnectionConfig(domain=DOMAIN, use_server_proxy=True)
    proxied = await Sandbox.connect(State.sandbox.id, connection_config=config)
    assert (await proxied.commands.run("echo through")).logs.stdout[0].text.rstrip("\n") == "through"
    await proxied.close()


async def check_kill_and_gone():
    await State.sandbox.kill()
    try:
        await State.sandbox.get_info()
    except SandboxApiException as error:
        assert error.status_code == 404, error
        assert error.error.code == "DOCKER::SANDBOX_NOT_FOUND", error.error
    else:
        raise AssertionError("no error")
    await State.sandbox.close()


async def check_unknown_image_is_refused():
    try:
        await Sandbox.create("no-such-image", resource=RESOURCE, connection_config=CONFIG)
    except SandboxException as error:
        assert "no-such-image" in str(error), error
    else:
        raise AssertionError("no error")


async def check_hooks_run_before_the_entrypoint_and_by_schedule():
    sandbox = await Sandbox.create(
        IMAGE,
        resource=RESOURCE,
        entrypoint=["sh", "-c", "cp /tmp/hook /tmp/seen; exec sleep 600"],
        lifecycle=SandboxLifecycle(
            pre_start=LifecycleHook(command=["sh", "-c", "sleep 1; echo prepared > /tmp/hook"], timeout_seconds=30),
            periodic=[
                PeriodicLifecycleHook(
                    name="tick", schedule="@every 1s", command=["sh", "-c", "echo tick >> /tmp/ticks"]
                )
            ],
        ),
        connection_config=CONFIG,
    )
    ran = await sandbox.commands.run("cat /tmp/seen; until grep -q tick /tmp/ticks; do sleep 0.1; done; echo ticks")
    assert [line.text.rstrip("\n") for line in ran.logs.stdout] == ["prepared", "ticks"], ran
    await sandbox.kill()
    await sandbox.close()


async def check_a_failed_hook_is_told():
    try:
        await Sandbox.create(
            IMAGE,
            resource=RESOURCE,
            lifecycle=SandboxLifecycle(pre_start=LifecycleHook(command=["sh", "-c", "echo no disk; exit 3"])),
            connection_config=CONFIG,
        )
    except SandboxApiException as error:
        assert "it ended with code 3; its output:\nno disk" in str(error), error
    else:
        raise AssertionError("no error")


run_checks(globals())
