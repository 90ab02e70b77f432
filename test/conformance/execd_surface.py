"""Every call that a published Python SDK makes to the daemon inside a sandbox, in whatever version is installed.

Usage: execd_surface.py HOST:PORT IMAGE

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ..., "missing": ...}; "missing" says that this version of the
SDK has no such call. Checks run in order, in one sandbox of their own.
"""

import asyncio
import inspect
import sys
import time
from datetime import timedelta

from checks import Missing, run_checks
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.exceptions import SandboxException
from opensandbox.models.execd import ExecutionHandlers, RunCommandOpts
from opensandbox.models.filesystem import WriteEntry

DOMAIN, IMAGE = sys.argv[1], sys.argv[2]
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))


class State:
    sandbox: Sandbox


def commands():
    return State.sandbox.commands


def text_of(messages):
    return "".join(m.text if m.text.endswith("\n") else m.text + "\n" for m in messages)


def lines_of(messages):
    return [m.text.rstrip("\r\n") for m in messages]


async def check_create():
    State.sandbox = await Sandbox.create(
        IMAGE,
        timeout=timedelta(minutes=10),
        env={"GREETING": "hello", "JUPYTER_TOKEN": "engine-secret"},
        resource={"cpu": "1", "memory": "512Mi"},
        connection_config=CONFIG,
    )


async def check_lines_are_whole_and_in_order():
    done = await commands().run("printf 'a\\n\\nb\\n  c  \\nlast'")
    assert lines_of(done.logs.stdout) == ["a", "", "b", "  c  ", "last"], done.logs


async def check_text_of_an_execution_is_the_output():
    done = await commands().run("seq 3")
    text = getattr(done, "text", None)
    if text is None:
        raise Missing()
    assert (text() if callable(text) else text).split() == ["1", "2", "3"], text


async def check_carriage_returns_and_unicode_line_breaks():
    done = await commands().run("printf 'x\\r\\ny\\342\\200\\250z\\302\\205w\\n'")
    joined = "".join(m.text for m in done.logs.stdout)
    assert "y\u2028z\u0085w" in joined and done.exit_code == 0, done.logs


async def check_a_long_line_is_whole():
    done = await commands().run("head -c 262144 /dev/zero | tr '\\0' x; echo")
    assert [len(line) for line in lines_of(done.logs.stdout)] == [262144], [len(m.text) for m in done.logs.stdout]


async def check_signal_and_exit_code():
    done = await commands().run("kill -9 $$")
    assert done.error.name == "CommandExecError" and done.exit_code == -1, done
    assert "killed" in "".join(done.error.traceback), done.error
    assert (await commands().run("exit 42")).exit_code == 42
    assert (await commands().run("no-such-program-here")).exit_code == 127


async def check_timeout_kills_what_escaped():
    started = time.monotonic()
    done = await commands().run(
        "(setsid sleep 300 &) ; sleep 300", opts=RunCommandOpts(timeout=timedelta(seconds=1))
    )
    assert done.error is not None and time.monotonic() - started < 20
    left = await commands().run("pgrep -fx 'sleep 300' | wc -l")
    assert lines_of(left.logs.stdout) == ["0"], left.logs


async def check_daemon_secrets_are_not_in_the_environment():
    done = await commands().run("env")
    names = {line.split("=")[0] for line in lines_of(done.logs.stdout)}
    assert "GREETING" in names, names
    assert not names & {"EXECD_ACCESS_TOKEN", "JUPYTER_TOKEN", "OPENSANDBOX_LIFECYCLE"}, names


async def check_set_env():
    if not hasattr(commands(), "set_env"):
        raise Missing()
    for name, value in {"PLAIN": "one two", "QUOTED": "it's \"so\" $HOME \\n", "LINES": "a\nb\n"}.items():
        await commands().set_env(name, value)
    done = await commands().run('printf "%s|" "$PLAIN" "$LINES"')
    assert "".join(m.text for m in done.logs.stdout) == "one two|a\nb\n|", done.logs
    done = await commands().run('printf "%s" "$QUOTED"')
    assert lines_of(done.logs.stdout) == ["it's \"so\" $HOME \\n"], done.logs


async def check_background_logs_and_interrupt():
    run = await commands().run("for i in 1 2 3; do echo $i; done; sleep 60", opts=RunCommandOpts(background=True))
    assert run.exit_code is None, run
    for _ in range(200):
        logs = await commands().get_background_command_logs(run.id)
        if logs.content == "1\n2\n3\n":
            break
        await asyncio.sleep(0.02)
    assert logs.content == "1\n2\n3\n" and logs.cursor == 6, logs
    await commands().interrupt(run.id)
    status = await commands().get_command_status(run.id)
    assert status.running is False and status.exit_code == -1, status
    for unknown in (commands().interrupt(run.id), commands().interrupt("0" * 32)):
        try:
            await unknown
        except SandboxException:
            pass
        else:
            raise AssertionError("no error")


async def check_sessions_keep_their_state():
    if not hasattr(commands(), "create_session"):
        raise Missing()
    session = await commands().create_session(working_directory="/tmp")

    async def run(command, **more):
        return await commands().run_in_session(session, command, **more)

    assert lines_of((await run("pwd")).logs.stdout) == ["/tmp"]
    await run("cd /usr; export E='a \"b\" $c'; plain=p; f() { echo \"f:$1\"; }")
    done = await run('pwd; echo "$E"; echo $plain; f x')
    assert lines_of(done.logs.stdout) == ["/usr", 'a "b" $c', "p", "f:x"], done.logs
    assert (await run("false; echo EXIT:$?")).logs.stdout[0].text.rstrip("\n") == "EXIT:1"
    assert (await run("sh -c 'exit 7'")).exit_code == 7
    started = time.monotonic()
    assert (await run("sleep 30 & echo started")).exit_code == 0
    assert time.monotonic() - started < 10, "a server in the background held the run"
    timed = await run("sleep 60", timeout=timedelta(seconds=1))
    assert timed.error is not None and time.monotonic() - started < 25, timed
    assert lines_of((await run("echo $plain", working_directory="/")).logs.stdout) == ["p"]
    await commands().delete_session(session)


async def check_rapid_sessions_lose_nothing():
    if not hasattr(commands(), "create_session"):
        raise Missing()
    for number in range(50):
        session = await commands().create_session()
        await commands().run_in_session(session, f"export V=x{number}")
        done = await commands().run_in_session(session, "echo $V")
        assert lines_of(done.logs.stdout) == [f"x{number}"], (number, done.logs)
        await commands().delete_session(session)


async def check_handlers_see_everything():
    seen = []

    def note(kind):
        async def take(value):
            seen.append(kind)

        return take

    handlers = ExecutionHandlers(
        on_init=note("init"),
        on_stdout=note("stdout"),
        on_stderr=note("stderr"),
        on_execution_complete=note("complete"),
        on_error=note("error"),
    )
    await commands().run("echo a; sleep 0.2; echo b >&2", handlers=handlers)
    assert seen == ["init", "stdout", "stderr", "complete"], seen
    seen.clear()
    await commands().run("exit 1", handlers=handlers)
    assert seen == ["init", "error"], seen


async def check_metrics_are_the_sandbox_s():
    metrics = await State.sandbox.get_metrics()
    values = metrics.model_dump()
    total = next(value for name, value in values.items() if "total" in name)
    used = next(value for name, value in values.items() if "memory_used" in name or "mem_used" in name)
    count = next(value for name, value in values.items() if "count" in name)
    assert total == 512 and 0 < used <= 512, values
    assert count == 1, values
    assert abs(values["timestamp"] / 1000 - time.time()) < 180, values


async def check_lines_of_a_file():
    await State.sandbox.files.write_file("/tmp/lines", "one\r\ntwo\nthree")
    if "offset" not in inspect.signature(State.sandbox.files.read_file).parameters:
        raise Missing()
    assert await State.sandbox.files.read_file("/tmp/lines", offset=1, limit=2) == "one\ntwo"
    assert await State.sandbox.files.read_file("/tmp/lines", offset=9) == ""


async def check_owner_of_written_files():
    await State.sandbox.files.write_files(
        [WriteEntry(path="/tmp/owned/f", data="x", mode=755, owner="nobody", group="nogroup")]
    )
    info = (await State.sandbox.files.get_file_info(["/tmp/owned/f"]))["/tmp/owned/f"]
    assert (info.mode, info.owner, info.group) == (755, "nobody", "nogroup"), info


async def check_files_with_identity():
    if not hasattr(State.sandbox, "files_with_identity"):
        raise Missing()
    files = State.sandbox.files_with_identity(65534, 65534)
    await files.write_file("/tmp/mine/f", "mine")
    info = (await files.get_file_info(["/tmp/mine/f"]))["/tmp/mine/f"]
    assert info.owner == "nobody", info
    try:
        await files.write_file("/root/theirs", "x")
    except SandboxException:
        pass
    else:
        raise AssertionError("wrote where nobody may not")


async def check_isolated_says_why_not():
    isolated = getattr(State.sandbox, "isolated", None) or getattr(State.sandbox, "isolation", None)
    if isolated is None or not hasattr(isolated, "capabilities"):
        raise Missing()
    capabilities = await isolated.capabilities()
    assert capabilities.available is False and capabilities.message, capabilities


async def check_kill():
    await State.sandbox.kill()
    await State.sandbox.close()


run_checks(globals())
