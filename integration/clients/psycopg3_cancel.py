"""Cancel requests of psycopg 3, and one with a wrong key, which must do nothing."""

import socket
import struct
import sys
import threading

import psycopg

conn = psycopg.connect(sys.argv[1], autocommit=True)
witness = psycopg.connect(sys.argv[1], autocommit=True)


def running():
    sql = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    return witness.execute(sql).fetchone()[0]


def sleep(seconds, outcome):
    try:
        conn.execute(f"select pg_sleep({seconds})")
        outcome.append("slept")
    except psycopg.errors.QueryCanceled:
        outcome.append("cancelled")


def while_it_sleeps(seconds, deed):
    outcome = []
    sleeper = threading.Thread(target=sleep, args=(seconds, outcome))
    sleeper.start()
    while not running():
        pass
    deed()
    sleeper.join()
    return outcome


def cancel_with_a_wrong_key():
    info = conn.info
    with socket.create_connection((info.host, info.port)) as stream:
        stream.sendall(struct.pack("!IIiI", 16, 80877102, info.backend_pid, 0x1BADB002))
        assert stream.recv(1) == b""  # closed without an answer: the request was looked at


assert while_it_sleeps(60, conn.cancel_safe) == ["cancelled"]
assert while_it_sleeps(60, conn.cancel) == ["cancelled"]
assert while_it_sleeps(1, cancel_with_a_wrong_key) == ["slept"]
assert conn.execute("select 1").fetchone() == (1,)
