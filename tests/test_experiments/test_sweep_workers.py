"""Nobody but the sweep itself can talk to its workers: dask runs whatever it is sent."""

import asyncio
import json
import pickle
import signal
import socket
import ssl
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from ipaddress import ip_address

import pytest

from experiments.sweep import cluster as module
from experiments.sweep.workers import processes
from tests import kill_sweep
from tests.cluster import job_of, running
from ufm.errors import InputError

psutil = pytest.importorskip("psutil")
distributed = pytest.importorskip("distributed")
rpc = pytest.importorskip("distributed.core").rpc
dask = pytest.importorskip("dask")
pytest.importorskip("cryptography")
pytest.importorskip("pyarrow")

ClusterExecutor = module.ClusterExecutor
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
TLS, ROLES = "distributed.comm.tls", ("scheduler", "worker", "client")
LONG = 'task = "verdict"\n[axes]\nK = [3, 4, 5]\nc = { from = 0.05, to = 1.2, num = 900 }\n'


def tree(process):
    """A process and all that it started."""
    return [process, *process.children(recursive=True)]


def listening(process):
    """(host, port) of every socket on which a process tree waits for connections."""
    return [
        (found.laddr.ip, found.laddr.port)
        for member in tree(process)
        for found in member.net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    ]


def outer_addresses():
    """This machine's addresses in networks that others are in."""
    every = [known.address for many in psutil.net_if_addrs().values() for known in many
             if known.family in (socket.AF_INET, socket.AF_INET6)]  # fmt: skip
    return [one for one in every if not ip_address(one.partition("%")[0]).is_loopback]


def takes_connections(host, port):
    with suppress(OSError):
        socket.create_connection((host, port), timeout=2).close()
        return True
    return False


def runs(address, proof, credentials):
    """Whether the server at an address makes a file for who connects like this."""

    async def ask():
        function = pickle.dumps(proof.touch)
        async with rpc(address, timeout=5, connection_args=credentials) as server:
            with suppress(AttributeError):
                await server.run(function=function)  # a worker
            with suppress(AttributeError):
                await server.run_function(function=function)  # a scheduler

    with suppress(OSError, TimeoutError):
        asyncio.run(asyncio.wait_for(ask(), 10))
    made = proof.exists()
    proof.unlink(missing_ok=True)
    return made


def strangers():
    """Ways to connect without the credentials: open, nameless, and with a certificate of one's own.

    None of them asks who answers.
    """
    nameless = ssl.create_default_context()
    own = distributed.Security.temporary().get_connection_args("client")["ssl_context"]
    for context in (nameless, own):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return [("tcp", {}), ("tls", {"ssl_context": nameless}), ("tls", {"ssl_context": own})]


def serves_pages(port):
    with suppress(OSError, HTTPException):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
        return True
    return False


def test_the_workers_of_a_sweep_listen_to_nobody_else(tmp_path):
    """On what the command opens, whoever has no credentials, or others, is sent away."""
    (tmp_path / "long.toml").write_text(LONG)
    with kill_sweep.start(tmp_path / "s", tmp_path / "long.toml", "--workers", 2) as command:
        try:
            members = psutil.Process(command.pid)
            deadline = time.monotonic() + 120
            while kill_sweep.written(tmp_path / "s") == 0:
                assert command.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            ports = listening(members)
            assert len(ports) == 3  # the scheduler and two workers
            assert {host for host, _ in ports} == {"127.0.0.1"}
            for _, port in ports:
                assert takes_connections("127.0.0.1", port)
                assert not [host for host in outer_addresses() if takes_connections(host, port)]
                for scheme, credentials in strangers():
                    address = f"{scheme}://127.0.0.1:{port}"
                    assert not runs(address, tmp_path / "proof", credentials)
                assert not serves_pages(port)
            for member in tree(members):
                assert "PRIVATE KEY" not in " ".join(member.cmdline())
                assert "PRIVATE KEY" not in " ".join(member.environ().values())
            assert command.poll() is None
        finally:
            command.send_signal(signal.SIGINT)
            command.communicate(timeout=60)


def test_who_has_the_credentials_is_answered(tmp_path):
    """So what is refused above is refused for its credentials."""
    with module._quiet(), processes(1) as (address, security):
        with distributed.Client(address, set_as_default=False, security=security) as client:
            client.wait_for_workers(1, timeout=60)
            (worker,) = client.scheduler_info()["workers"]
        for server in (address, worker):
            assert server.startswith("tls://127.0.0.1:")
            assert runs(server, tmp_path / "proof", security.get_connection_args("client"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A configuration of dask for two people, each with a certificate that signs itself."""

    def made(name):
        place, security = tmp_path_factory.mktemp(name), distributed.Security.temporary()
        pem, key = place / "me.pem", place / "me.key"
        pem.write_text(security.tls_client_cert)
        key.write_text(security.tls_client_key)
        settings = {f"{TLS}.ca-file": str(pem)}
        settings |= {f"{TLS}.{role}.cert": str(pem) for role in ROLES}
        return settings | {f"{TLS}.{role}.key": str(key) for role in ROLES}

    return made("mine"), made("theirs")


@pytest.fixture(scope="module")
def encrypted(certificates, tmp_path_factory):
    """The address of a scheduler that is configured as docs/sweeps.md says."""
    folder = tmp_path_factory.mktemp("cluster")
    with dask.config.set(certificates[0]):
        settings = {"distributed": {"comm": {"tls": dask.config.get(TLS)}}}
        (folder / "tls.yaml").write_text(json.dumps(settings))  # which is YAML, too
    with running(folder, "--protocol", "tls", DASK_CONFIG=str(folder)) as (address, _):
        assert address.startswith("tls://")
        yield address


def test_certificates_are_those_of_dasks_configuration(certificates, encrypted):
    mine, theirs = certificates
    with dask.config.set(mine):
        ((_, found),) = ClusterExecutor(encrypted, 1)([job_of("ce", 0)])
    assert found["result"].tolist() == ["CONVERGED"] * 2
    for others in (theirs, {}):
        with dask.config.set(others), pytest.raises(InputError, match="certificates") as told:
            next(ClusterExecutor(encrypted, 1)([job_of("ce", 0)]))
        assert str(told.value.got).startswith(f"{encrypted}: ")
        assert "docs/sweeps.md" in told.value.remedy


def test_where_dask_may_not_be_open_an_open_address_is_refused():
    only = {"distributed.comm.require-encryption": True}
    with dask.config.set(only), pytest.raises(InputError, match="requires encryption"):
        next(ClusterExecutor("tcp://127.0.0.1:9", 1)([job_of("ce", 0)]))


def test_a_file_that_is_no_key_is_refused(certificates, tmp_path):
    (tmp_path / "me.key").write_text("no key")
    for name in ("none", "me.key"):
        settings = certificates[0] | {f"{TLS}.client.key": str(tmp_path / name)}
        with dask.config.set(settings), pytest.raises(InputError, match=r"No such file|PEM"):
            next(ClusterExecutor("tls://127.0.0.1:9", 1)([job_of("ce", 0)]))
