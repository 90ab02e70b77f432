"""What scripts of checks share. A check is a function whose name begins with `check_`; they run in the order in which they stand.

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ..., "missing": ...}.
"""

import asyncio
import json
import traceback


class Missing(Exception):
    """Not in this version of the SDK, not in this image, or not with this engine."""


def run_checks(names, seconds=90):
    """Runs the checks among `names`, the globals of a script, each for so many seconds at most."""
    asyncio.run(_run_checks(names, seconds))


async def _run_checks(names, seconds):
    for name, check in list(names.items()):
        if not name.startswith("check_"):
            continue
        result = {"name": name, "ok": True}
        try:
            await asyncio.wait_for(check(), seconds)
        except Missing:
            result["missing"] = True
        except BaseException:
            result = {"name": name, "ok": False, "detail": traceback.format_exc(limit=-6)}
        print(json.dumps(result), flush=True)
