"""What a connection says when it breaks in the middle of an answer, or stops answering without breaking."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from crossfade.store.backends.postgres.server import Server
from crossfade.store.backends.postgres.session import Session
from crossfade.store.faults import is_transient
from support.cluster import Cluster
from support.proxy import Proxy


def _server(cluster: Cluster, proxy: Proxy) -> Server:
    return Server(f"host=127.0.0.1 port={proxy.port} dbname=postgres user=crossfade", "the server", secret=cluster.password)


@pytest.fixture
def session(cluster: Cluster):
    with Proxy(cluster.port) as proxy, _server(cluster, proxy).connect("test") as session:
        session.execute("CREATE TEMP TABLE t (x text)")
        session.commit()
        yield session, proxy
        proxy.go_on()
        session.close()


def test_a_stalled_line_is_given_up_within_the_limit(session: tuple[Session, Proxy]):
    connection, proxy = session
    proxy.stall()
    began = time.monotonic()

    with pytest.raises(psycopg.OperationalError) as caught, connection.within(0.5):
        connection.execute("SELECT 1")

    assert 0.4 < time.monotonic() - began < 5
    assert is_transient(caught.value)
    assert connection.closed


def test_without_a_limit_a_slow_answer_is_waited_for(session: tuple[Session, Proxy]):
    connection, proxy = session
    with connection.within(0.2):
        pass
    proxy.stall()
    threading.Timer(1.0, proxy.go_on).start()

    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_copy_that_breaks_with_two_answers_is_a_broken_connection(session: tuple[Session, Proxy], cluster: Cluster):
    """The server says that it goes, then the line ends: the driver finds two results where it expects one."""
    connection, _ = session
    pid = connection.info.backend_pid

    def broken() -> None:
        with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            copy.write(b"x\n" * 10)
            with cluster.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
            time.sleep(0.3)

    with pytest.raises(psycopg.Error) as caught:
        broken()
    assert is_transient(caught.value), caught.value


def test_answers_that_the_driver_cannot_count_are_a_broken_connection(session: tuple[Session, Proxy]):
    """It happens where a line is cut between two of them; a mistake of ours on a line that holds stays one."""
    connection, _ = session

    def miscounted():
        raise ValueError("too many values to unpack (expected 1)")
        yield

    with pytest.raises(ValueError, match="too many"):
        connection.wait(miscounted())
    connection.pgconn.finish()
    with pytest.raises(psycopg.OperationalError) as caught:
        connection.wait(miscounted())
    assert is_transient(caught.value)


@pytest.mark.parametrize("name", ["transaction_timeout", "idle_in_transaction_session_timeout"])
def test_a_transaction_that_took_too_long_may_be_tried_again(session: tuple[Session, Proxy], name: str):
    connection, _ = session
    connection.execute(f"SET {name} = '100ms'")
    time.sleep(0.5)

    with pytest.raises(psycopg.Error) as caught:
        connection.execute("SELECT 1")
    assert caught.value.sqlstate in ("25P03", "25P04")
    assert is_transient(caught.value)
