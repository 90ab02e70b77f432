"""Every call of the published code-interpreter SDK, unchanged.

Usage: code_interpreter_surface.py HOST:PORT SETTINGS

SETTINGS is JSON: {"image": ..., "entrypoint": [...] or null, "env": {...}, "engine": "jupyter" or "builtin", "languages": [...]}.
Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ..., "missing": ...}. Checks run in order, in one sandbox.
"""

import asyncio
import json
import sys
import time
from datetime import timedelta

import httpx
from code_interpreter import CodeInterpreter, CodeInterpreterSync
from code_interpreter.models.code import CodeContext, SupportedLanguage
from checks import Missing, run_checks
from opensandbox import Sandbox, SandboxSync
from opensandbox.config import ConnectionConfig, ConnectionConfigSync
from opensandbox.exceptions import SandboxApiException, SandboxException
from opensandbox.models.execd import ExecutionHandlers
from opensandbox.models.filesystem import WriteEntry

DOMAIN, SETTINGS = sys.argv[1], json.loads(sys.argv[2])
LANGUAGES = SETTINGS["languages"]
IS_JUPYTER = SETTINGS["engine"] == "jupyter"
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))
ALL = {
    SupportedLanguage.PYTHON,
    SupportedLanguage.JAVA,
    SupportedLanguage.GO,
    SupportedLanguage.TYPESCRIPT,
    SupportedLanguage.BASH,
    SupportedLanguage.JAVASCRIPT,
}

GO_PROGRAM = 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello")\n\tfmt.Println(2 + 2)\n}'
HELLO = {
    "python": 'print("hello")\n2 + 2',
    "java": 'System.out.println("hello");\nint result = 2 + 2;\nresult',
    "go": GO_PROGRAM,
    "typescript": 'console.log("hello");\nconst result: number = 2 + 2;\nresult',
    "javascript": 'console.log("hello");\n2 + 2',
    "bash": "echo hello; echo $((2 + 2))",
}
DEFINE = {
    "python": "x = 41",
    "java": "int x = 41;",
    "go": "var x = 41",
    "typescript": "let x: number = 41",
    "javascript": "let x = 41",
    "bash": "x=41",
}
USE = {
    "python": "print(x + 1)",
    "java": "System.out.println(x + 1);",
    "go": 'import "fmt"\nfmt.Println(x + 1)',
    "typescript": "console.log(x + 1)",
    "javascript": "console.log(x + 1)",
    "bash": "echo $((x + 1))",
}
FAIL = {
    "python": ("undefined_name", "NameError"),
    "java": ("int r = 10 / 0;", "EvalException"),
    "go": ('package main\n\nfunc main() {\n\tpanic("broken")\n}', None),
    "typescript": ("nowhere()", None),
    "javascript": ('throw new TypeError("broken")', None),
    "bash": ("no-such-program", None),
}
FOREVER = {
    "python": "import time\nprint('started', flush=True)\nwhile True:\n    time.sleep(0.1)",
    "java": 'System.out.println("started");\nwhile (true) { Thread.sleep(100); }',
    "go": 'import ("fmt"; "time")\nfmt.Println("started")\nfor { time.Sleep(time.Second) }',
    "javascript": "console.log('started'); await new Promise((resolve) => setTimeout(resolve, 600000))",
    "bash": "echo started; sleep 600",
}


class State:
    sandbox: Sandbox
    interpreter: CodeInterpreter
    contexts: dict


def codes():
    return State.interpreter.codes


def out(execution):
    return "".join(message.text for message in execution.logs.stdout)


def err(execution):
    return "".join(message.text for message in execution.logs.stderr)


async def run(code, language=None, context=None, **options):
    if context is None and language is None:
        raise ValueError("a language or a context is needed")
    return await codes().run(code, language=language, context=context, **options)


async def results_on_the_wire(code, context):
    """The SDK reads the plain text of a result and leaves the rest, which other clients read."""
    endpoint = await State.sandbox.get_endpoint(44772)
    body = {"code": code, "context": {"id": context.id, "language": context.language}}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"http://{endpoint.endpoint}/code", json=body, headers=endpoint.headers)
    events = [json.loads(frame) for frame in answer.text.split("\n\n") if frame]
    return [event["results"] for event in events if event["type"] == "result"]


async def refused(call):
    try:
        await call
    except SandboxApiException as error:
        return error
    except SandboxException as error:
        return error
    raise AssertionError("was not refused")


async def check_create_waits_for_the_runtime():
    State.sandbox = await Sandbox.create(
        SETTINGS["image"],
        entrypoint=SETTINGS["entrypoint"],
        env=SETTINGS["env"],
        timeout=timedelta(minutes=10),
        resource={"cpu": "2", "memory": "3Gi"},
        ready_timeout=timedelta(seconds=120),
        connection_config=CONFIG,
    )
    State.interpreter = await CodeInterpreter.create(State.sandbox)
    assert State.interpreter.id == State.sandbox.id
    assert await State.interpreter.ping()
    assert await State.interpreter.is_healthy()


async def check_a_context_for_each_language():
    State.contexts = {}
    for language in LANGUAGES:
        context = await codes().create_context(language)
        assert context.id and context.language == language, context
        State.contexts[language] = context


async def check_hello_in_each_language():
    for language, context in State.contexts.items():
        done = await run(HELLO[language], context=context)
        assert done.error is None, (language, done.error)
        assert "hello" in out(done), (language, done.logs)
        shown = out(done) + "".join(result.text or "" for result in done.result)
        assert "4" in shown, (language, done)
        assert done.id == context.id, (language, done.id)
        assert done.complete is not None, language
        assert done.exit_code is None, language


async def check_last_expression_is_the_result():
    for language in ("python", "java", "javascript", "typescript"):
        # The kernels of the Jupyter image print values of JavaScript and TypeScript instead.
        if language not in State.contexts or (IS_JUPYTER and "script" in language):
            continue
        done = await run(HELLO[language], context=State.contexts[language])
        assert [result.text for result in done.result] == ["4"], (language, done.result)


async def check_variables_persist():
    for language, context in State.contexts.items():
        done = await run(DEFINE[language], context=context)
        assert done.error is None, (language, done.error)
        done = await run(USE[language], context=context)
        assert out(done).strip() == "42", (language, done)


async def check_contexts_know_nothing_of_each_other():
    for language in LANGUAGES:
        other = await codes().create_context(language)
        done = await run(USE[language], context=other)
        assert done.error is not None or "42" not in out(done), (language, done)
        await codes().delete_context(other.id)


async def check_errors_have_names_and_words():
    for language, context in State.contexts.items():
        code, name = FAIL[language]
        done = await run(code, context=context)
        assert done.error is not None, language
        assert done.error.name and done.error.value, (language, done.error)
        assert name is None or done.error.name == name, (language, done.error)
        assert isinstance(done.error.traceback, list), language
        # The context is as good as before.
        done = await run(HELLO[language], context=context)
        assert done.error is None and "hello" in out(done), (language, done)


async def check_default_contexts():
    await run("y = 1", language="python")
    done = await codes().run("y + 1")
    assert [result.text for result in done.result] == ["2"], done
    done = await run("y + 2", context=CodeContext(language="python"))
    assert [result.text for result in done.result] == ["3"], done


async def check_handlers_are_called_as_it_happens():
    seen = []
    times = {}

    def note(kind):
        async def handler(event):
            seen.append(kind)
            times.setdefault(kind, time.monotonic())

        return handler

    handlers = ExecutionHandlers(
        on_init=note("init"),
        on_stdout=note("stdout"),
        on_stderr=note("stderr"),
        on_result=note("result"),
        on_error=note("error"),
        on_execution_complete=note("complete"),
    )
    code = "import sys, time\nprint('out', flush=True)\ntime.sleep(1)\nprint('err', file=sys.stderr)\n7"
    await run(code, context=State.contexts["python"], handlers=handlers)
    assert seen == ["init", "stdout", "stderr", "result", "complete"], seen
    assert times["complete"] - times["stdout"] > 0.8, times
    seen.clear()
    await run("1 / 0", context=State.contexts["python"], handlers=handlers)
    assert seen[0] == "init" and "error" in seen, seen


async def check_rich_results():
    code = """
class Rich:
    def _repr_html_(self):
        return '<b>rich</b>'
    def __repr__(self):
        return 'plain'
Rich()
"""
    done = await run(code, context=State.contexts["python"])
    [result] = done.result
    assert result.text == "plain", result
    assert await results_on_the_wire("Rich()", State.contexts["python"]) == [
        {"text": "plain", "text/plain": "plain", "text/html": "<b>rich</b>"}
    ]


async def check_figures_arrive():
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()\n'shown'"
    done = await run(code, context=State.contexts["python"])
    if done.error is not None and done.error.name == "ModuleNotFoundError":
        raise Missing()
    assert done.error is None, done.error
    assert len(done.result) == 2 and "Figure" in done.result[0].text, done.result
    results = await results_on_the_wire(code, State.contexts["python"])
    assert results[0]["image/png"].startswith("iVBORw0KGgo"), results


async def check_odd_characters_and_large_output():
    done = await run("print('a\\u2028b\\u0085c\\U0001F600')\nprint('x' * 3_000_000)", context=State.contexts["python"])
    assert out(done) == "a\u2028b\u0085c\U0001f600\n" + "x" * 3_000_000 + "\n", len(out(done))


async def check_interrupt_and_use_again():
    for language, code in FOREVER.items():
        # What ignores the signal has its kernel restarted by tslab's authors' choice: not a matter of ours.
        if language not in State.contexts or (IS_JUPYTER and language == "javascript"):
            continue
        context = State.contexts[language]
        started = asyncio.Event()

        async def on_stdout(message):
            if "started" in message.text:
                started.set()

        running = asyncio.create_task(run(code, context=context, handlers=ExecutionHandlers(on_stdout=on_stdout)))
        await asyncio.wait_for(started.wait(), 30)
        await codes().interrupt(context.id)
        done = await asyncio.wait_for(running, 20)
        assert done.error is not None or done.complete is not None, (language, done)
        done = await run(HELLO[language], context=context)
        assert "hello" in out(done), (language, done)


async def check_interrupt_of_what_does_not_exist_fails():
    await refused(codes().interrupt("no-such-execution"))


async def check_runs_of_one_context_wait_for_each_other():
    context = State.contexts["python"]
    await run("log = []", context=context)
    cells = [f"import time\nlog.append('b{n}')\ntime.sleep(0.1)\nlog.append('e{n}')" for n in range(4)]
    for done in await asyncio.gather(*(run(cell, context=context) for cell in cells)):
        assert done.error is None, done.error
    done = await run("all(log[i][1] == log[i + 1][1] for i in range(0, 8, 2))", context=context)
    assert [result.text for result in done.result] == ["True"], done


async def check_contexts_run_side_by_side():
    first, second = [await codes().create_context("python") for _ in range(2)]
    code = "import time\ntime.sleep(2)"
    started = time.monotonic()
    await asyncio.gather(run(code, context=first), run(code, context=second))
    assert time.monotonic() - started < 3.9
    for context in (first, second):
        await codes().delete_context(context.id)


async def check_files_are_where_code_is():
    await State.interpreter.files.write_files([WriteEntry(path="data.txt", data="from the client")])
    done = await run("print(open('data.txt').read())", context=State.contexts["python"])
    assert out(done).strip() == "from the client", done
    done = await State.interpreter.commands.run("cat data.txt")
    assert out(done).strip() == "from the client", done


async def check_variables_of_the_sandbox_are_there_and_secrets_are_not():
    done = await run("import os; print(os.environ.get('GREETING'), os.environ.get('JUPYTER_TOKEN'))", language="python")
    assert out(done).strip() == "hello None", done


async def check_list_get_and_delete():
    context = await codes().create_context("python")
    listed = await codes().list_contexts("python")
    assert context.id in [one.id for one in listed], listed
    assert len({one.id for one in listed}) == len(listed), listed
    assert (await codes().get_context(context.id)).id == context.id
    await codes().delete_context(context.id)
    error = await refused(codes().get_context(context.id))
    assert f"context {context.id} not found" in str(error), error
    await refused(codes().delete_context(context.id))
    await refused(run("1", context=context))


async def check_delete_by_language():
    await codes().create_context("bash")
    await run("echo default", language="bash")
    await codes().delete_contexts("bash")
    assert await codes().list_contexts("bash") == []
    assert await codes().list_contexts("python") != []
    done = await run("echo again", language="bash")
    assert out(done).strip() == "again", done
    await codes().delete_contexts("bash")


async def check_a_language_that_is_not_there_is_refused_at_once():
    missing = sorted(ALL - set(LANGUAGES))
    for language in missing:
        started = time.monotonic()
        error = await refused(codes().create_context(language))
        assert time.monotonic() - started < 15, language
        assert language in str(error) and "python" in str(error), error
    await refused(codes().create_context("cobol"))
    if not missing:
        raise Missing()


async def check_a_kernel_that_dies_ends_its_run():
    context = await codes().create_context("python")
    done = await asyncio.wait_for(run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", context=context), 30)
    assert done.error is not None and done.error.name == "KernelDied", done.error
    done = await run("print('new')", context=context)
    assert out(done) == "new\n", done


async def check_the_synchronous_client():
    def work():
        sandbox = SandboxSync.connect(
            State.sandbox.id, connection_config=ConnectionConfigSync(domain=DOMAIN, request_timeout=timedelta(seconds=60))
        )
        interpreter = CodeInterpreterSync.create(sandbox)
        assert interpreter.is_healthy()
        context = interpreter.codes.create_context("python")
        done = interpreter.codes.run("print('sync')\n6 * 7", context=context)
        assert out(done) == "sync\n" and [one.text for one in done.result] == ["42"], done
        assert interpreter.codes.get_context(context.id).id == context.id
        assert context.id in [one.id for one in interpreter.codes.list_contexts("python")]
        interpreter.codes.delete_context(context.id)
        interpreter.close()
        sandbox.close()

    await asyncio.to_thread(work)


async def check_close_and_kill():
    await State.interpreter.aclose()
    await State.sandbox.kill()
    await State.sandbox.close()


run_checks(globals(), seconds=120)
