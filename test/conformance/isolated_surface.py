"""Every call of the published Python SDK to isolated sessions.

Usage: isolated_surface.py HOST:PORT IMAGE

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ...}. Checks run in order, in one sandbox of their own.
"""

import asyncio
import sys
from datetime import timedelta

from checks import run_checks
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.exceptions import SandboxException
from opensandbox.models.execd import ExecutionHandlers
from opensandbox.models.filesystem import (
    ContentReplaceEntry,
    DirectoryListEntry,
    MoveEntry,
    SearchEntry,
    SetPermissionEntry,
    WriteEntry,
)
from opensandbox.models.isolated import (
    BindMount,
    CreateIsolatedSessionRequest,
    EnvPassthroughSpec,
    IsolatedOverlaySpec,
    IsolatedRunOpts,
    IsolatedWorkspaceSpec,
)

DOMAIN, IMAGE = sys.argv[1], sys.argv[2]
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))
WORKSPACE = IsolatedWorkspaceSpec(path="/workspace/project")


class State:
    sandbox: Sandbox
    session = None


def text_of(messages):
    return "".join(m.text if m.text.endswith("\n") else m.text + "\n" for m in messages)


async def output_of(session, code, **opts):
    done = await session.run(code, opts=IsolatedRunOpts(**opts) if opts else None)
    return text_of(done.logs.stdout)


async def check_create():
    State.sandbox = await Sandbox.create(
        IMAGE,
        timeout=timedelta(minutes=10),
        env={"GREETING": "hello", "MY_TOKEN": "secret"},
        resource={"cpu": "1", "memory": "512Mi"},
        extensions={"bootstrap.execd.isolation": "enable"},
        connection_config=CONFIG,
    )
    await State.sandbox.commands.run("mkdir -p /workspace/project /workspace/other && echo old > /workspace/project/old")


async def check_capabilities():
    capabilities = await State.sandbox.isolation.capabilities()
    assert capabilities.available and capabilities.isolator == "bwrap" and capabilities.version, capabilities


async def check_session():
    State.session = await State.sandbox.isolation.create(
        CreateIsolatedSessionRequest(workspace=WORKSPACE, idle_timeout_seconds=0)
    )
    assert State.session.info.idle_timeout_seconds == 0, State.session.info
    state = await State.session.get()
    assert state.status == "active" and state.workspace == IsolatedWorkspaceSpec(path="/workspace/project", mode="overlay"), state
    assert [s.session_id for s in await State.sandbox.isolation.list()] == [State.session.session_id]
    attached = await State.sandbox.isolation.attach(State.session.session_id)
    assert attached.info.profile == "strict", attached.info


async def check_run():
    seen = []

    async def on_stdout(message):
        seen.append(message.text)

    done = await State.session.run(
        "echo $GREETING; echo [$MY_TOKEN]; echo err >&2; A=kept; false", handlers=ExecutionHandlers(on_stdout=on_stdout)
    )
    assert done.exit_code == 1 and text_of(done.logs.stdout) == "hello\n[]\n", done
    assert text_of(done.logs.stderr) == "err\n" and len(seen) == 2, (done, seen)
    assert await output_of(State.session, "echo $A $X", envs={"X": "y"}) == "kept y\n"


async def check_timeout():
    done = await State.session.run("sleep 60", opts=IsolatedRunOpts(timeout_seconds=1))
    assert done.error is not None and done.exit_code == -1, done
    assert await output_of(State.session, "echo $A") == "kept\n"


async def check_background():
    run = await State.session.run_background("echo begun; sleep 0.5; exit 3", opts=IsolatedRunOpts(envs={"X": "y"}))
    status = await State.session.run_status(run.run_id)
    assert status.running, status
    while status.running:
        await asyncio.sleep(0.05)
        status = await State.session.run_status(run.run_id)
    assert status.exit_code == 3 and status.finished_at, status
    logs = await State.session.run_logs(run.run_id)
    assert logs.text == "begun\n" and logs.cursor == 6, logs
    assert (await State.session.run_logs(run.run_id, cursor=6)).text == ""


async def check_files():
    files = State.session.files
    await files.write_files([WriteEntry(path="a.txt", data="alpha alpha\n", mode=640), WriteEntry(path="b.bin", data=b"\x00\xff")])
    assert await output_of(State.session, "cat a.txt; stat -c %a a.txt") == "alpha alpha\n640\n"
    assert await files.read_file("/workspace/project/a.txt") == "alpha alpha\n"
    assert await files.read_bytes("b.bin") == b"\x00\xff"
    assert await files.read_file("a.txt", offset=1, limit=1) == "alpha alpha"
    assert (await files.get_file_info(["a.txt"]))["a.txt"].size == 12
    await files.replace_contents([ContentReplaceEntry(path="a.txt", old_content="zzz", new_content="y")])
    results = await files.replace_contents_detailed(
        [ContentReplaceEntry(path="a.txt", old_content="alpha", new_content="beta")]
    )
    assert [r.replaced_count for r in results] == [2], results
    await files.create_directories([WriteEntry(path="d", mode=750)])
    await files.move_files([MoveEntry(src="a.txt", dest="d/moved.txt")])
    await files.set_permissions([SetPermissionEntry(path="d/moved.txt", mode=600)])
    assert [e.path for e in await files.search(SearchEntry(path="/workspace/project", pattern="*.txt"))] == [
        "/workspace/project/d/moved.txt"
    ]
    assert [e.path for e in await files.list_directory(DirectoryListEntry(path="d"))] == ["/workspace/project/d/moved.txt"]
    await files.delete_files(["d/moved.txt", "b.bin"])
    await files.delete_directories(["d"])
    assert await output_of(State.session, "ls") == "old\n"
    try:
        await files.read_file("/etc/passwd")
    except SandboxException:
        pass
    else:
        raise AssertionError("read what is not of the session")


async def check_delete():
    await State.session.delete()
    try:
        await State.session.get()
    except SandboxException:
        return
    raise AssertionError("a deleted session is still there")


async def check_all_parameters():
    async with State.sandbox.isolation.session(
        CreateIsolatedSessionRequest(
            overlays=[
                IsolatedOverlaySpec(path="/workspace/project", mode="rw"),
                IsolatedOverlaySpec(path="/workspace/other", mode="overlay", persist=False),
            ],
            profile="balanced",
            extra_writable=["/mnt"],
            binds=[BindMount(source="/media", dest="/tmp/media", readonly=True)],
            share_net=False,
            env_passthrough=EnvPassthroughSpec(mode="allow", keys=["GREETING", "MY_TOKEN"]),
            uid=1000,
            gid=1000,
            uid_mode="userns",
        )
    ) as session:
        assert await output_of(session, "id -u; echo $GREETING $MY_TOKEN; grep -c : /proc/net/dev") == "1000\nhello secret\n1\n"
        state = await session.get()
        assert [o.mode for o in state.overlays] == ["rw", "overlay"] and state.workspace is None, state
        assert state.share_net is False and state.uid == 1000 and state.binds[0].readonly, state


async def check_run_once():
    done = await State.sandbox.isolation.run_once("cat old", workspace="/workspace/project")
    assert text_of(done.logs.stdout) == "old\n", done
    assert await State.sandbox.isolation.list() == []


async def check_refusals_have_a_reason():
    for request, reason in [
        (CreateIsolatedSessionRequest(workspace=WORKSPACE, extra_writable=["/etc"]), "allowed are /workspace"),
        (CreateIsolatedSessionRequest(workspace=WORKSPACE, profile="loose"), "profile"),
    ]:
        try:
            await State.sandbox.isolation.create(request)
        except SandboxException as error:
            assert reason in str(error), error
        else:
            raise AssertionError("was not refused")


async def check_kill():
    await State.sandbox.kill()
    await State.sandbox.close()


run_checks(globals())
