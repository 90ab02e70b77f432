"""Volumes by the published Python SDK.

Usage: volumes_surface.py HOST:PORT IMAGE HOST_DIRECTORY

Prints one JSON line per check: {"name": ..., "ok": ..., "detail": ...}.
"""

import sys
from datetime import timedelta

import httpx
from checks import run_checks
from opensandbox import Sandbox
from opensandbox.config import ConnectionConfig
from opensandbox.exceptions import SandboxApiException
from opensandbox.models.sandboxes import OSSFS, PVC, Host, Volume

DOMAIN, IMAGE, DIRECTORY = sys.argv[1:]
CONFIG = ConnectionConfig(domain=DOMAIN, request_timeout=timedelta(seconds=60))


async def create(*volumes):
    return await Sandbox.create(
        IMAGE,
        connection_config=CONFIG,
        timeout=timedelta(minutes=10),
        resource={"cpu": "0.5", "memory": "512Mi"},
        volumes=list(volumes),
    )


async def run(sandbox, command):
    execution = await sandbox.commands.run(command)
    return execution.error, "".join(line.text for line in execution.logs.stdout).strip()


async def refused(code, *volumes):
    try:
        sandbox = await create(*volumes)
    except SandboxApiException as error:
        assert error.error.code == code, error.error.code
        return
    await sandbox.kill()
    raise AssertionError("it was made")


async def end(*sandboxes):
    for sandbox in sandboxes:
        await sandbox.kill()
        await sandbox.close()


async def check_two_sandboxes_share_a_named_volume():
    one = await create(Volume(name="data", pvc=PVC(claim_name="python"), mount_path="/data"))
    other = await create(
        Volume(name="data", pvc=PVC(claim_name="python", create_if_not_exists=False), mount_path="/mnt/d", read_only=True)
    )
    try:
        await one.files.write_file("/data/a.txt", "by python\n")
        assert await other.files.read_file("/mnt/d/a.txt") == "by python\n"
        error, _ = await run(other, "touch /mnt/d/b.txt")
        assert error is not None
    finally:
        await end(one, other)


async def check_a_volume_outlives_its_sandboxes():
    sandbox = await create(Volume(name="data", pvc=PVC(claim_name="python"), mount_path="/data", sub_path="inner"))
    try:
        assert (await run(sandbox, "ls -A /data; echo kept > /data/b.txt")) == (None, "")
    finally:
        await end(sandbox)
    again = await create(Volume(name="data", pvc=PVC(claim_name="python"), mount_path="/data"))
    try:
        assert (await run(again, "cat /data/a.txt /data/inner/b.txt"))[1].split() == ["by", "python", "kept"]
    finally:
        await end(again)


async def check_a_volume_of_one_sandbox_goes_with_it():
    pvc = PVC(claim_name="python-scratch", delete_on_sandbox_termination=True)
    sandbox = await create(Volume(name="data", pvc=pvc, mount_path="/data"))
    async with httpx.AsyncClient(base_url=f"http://{DOMAIN}") as client:
        assert (await client.get("/v1/volumes/python-scratch")).json()["usedBy"] == [sandbox.id]
        await end(sandbox)
        assert (await client.get("/v1/volumes/python-scratch")).status_code == 404


async def check_a_host_directory():
    sandbox = await create(Volume(name="work", host=Host(path=DIRECTORY), mount_path="/work", sub_path="from-python"))
    try:
        assert (await run(sandbox, "echo hello > /work/a.txt"))[0] is None
    finally:
        await end(sandbox)
    with open(f"{DIRECTORY}/from-python/a.txt") as written:
        assert written.read() == "hello\n"


async def check_refusals_by_their_codes():
    missing = PVC(claim_name="python-none", create_if_not_exists=False)
    await refused("VOLUME::PVC_NOT_FOUND", Volume(name="a", pvc=missing, mount_path="/a"))
    await refused("VOLUME::HOST_PATH_NOT_ALLOWED", Volume(name="a", host=Host(path="/etc"), mount_path="/a"))
    python = PVC(claim_name="python")
    await refused("VOLUME::INVALID_SUB_PATH", Volume(name="a", pvc=python, mount_path="/a", sub_path="../b"))
    bucket = OSSFS(
        bucket="bucket", endpoint="oss.example.com", access_key_id="id", access_key_secret="secret"
    )
    await refused("VOLUME::UNSUPPORTED_BACKEND", Volume(name="a", ossfs=bucket, mount_path="/a"))


run_checks(globals())
