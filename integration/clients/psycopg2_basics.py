"""psycopg2, the driver below most of Django's installations: transactions, errors, COPY, cancel, encodings."""

import io
import sys
import threading

import psycopg2
from psycopg2 import errors

ROWS = 100_000

conn = psycopg2.connect(sys.argv[1])
cursor = conn.cursor()
cursor.execute("drop table if exists psycopg2_basics")
cursor.execute("create table psycopg2_basics (id int primary key, name text)")
conn.commit()

rows = io.StringIO("".join(f"{n}\tname {n}\n" for n in range(ROWS)))
cursor.copy_expert("copy psycopg2_basics from stdin", rows)
conn.commit()
out = io.StringIO()
cursor.copy_expert("copy (select * from psycopg2_basics order by id) to stdout", out)
assert out.getvalue() == rows.getvalue()
conn.commit()

try:
    cursor.copy_expert("copy psycopg2_basics from stdin", io.StringIO("0\ttwice\n"))
except errors.UniqueViolation:
    conn.rollback()
else:
    raise AssertionError("a duplicate key went unnoticed")

cursor.execute("delete from psycopg2_basics where id < %s", [10])
conn.rollback()
cursor.execute("select count(*) from psycopg2_basics")
assert cursor.fetchone() == (ROWS,)
conn.commit()

conn.set_client_encoding("LATIN1")
cursor.execute("select %s", ["grün"])
assert cursor.fetchone() == ("grün",)
conn.commit()

witness = psycopg2.connect(sys.argv[1])
witness.autocommit = True


def cancel_when_it_sleeps():
    look = witness.cursor()
    running = 0
    while not running:
        look.execute("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")
        running = look.fetchone()[0]
    conn.cancel()


helper = threading.Thread(target=cancel_when_it_sleeps)
helper.start()
try:
    cursor.execute("select pg_sleep(60)")
except errors.QueryCanceled:
    conn.rollback()
else:
    raise AssertionError("a cancel request did nothing")
helper.join()

cursor.execute("drop table psycopg2_basics")
conn.commit()
conn.close()
