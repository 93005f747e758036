"""COPY both ways with psycopg 3: 100 000 rows, an error of the server's in the middle, an error of our own."""

import sys

import psycopg

ROWS = 100_000

with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    conn.execute("drop table if exists psycopg3_copy")
    conn.execute("create table psycopg3_copy (id int primary key, name text)")
    with conn.cursor() as cursor:
        with cursor.copy("copy psycopg3_copy from stdin") as copy:
            for n in range(ROWS):
                copy.write_row((n, f"name {n}"))
        with cursor.copy("copy (select * from psycopg3_copy order by id) to stdout") as copy:
            rows = list(copy.rows())
    assert len(rows) == ROWS and rows[4711] == ("4711", "name 4711"), len(rows)

    try:
        with conn.cursor().copy("copy psycopg3_copy from stdin") as copy:
            for n in range(ROWS, 2 * ROWS):
                copy.write_row((n if n != ROWS + 5000 else 0, "twice"))
    except psycopg.errors.UniqueViolation:
        pass
    else:
        raise AssertionError("a duplicate key went unnoticed")
    assert conn.execute("select count(*) from psycopg3_copy").fetchone() == (ROWS,)

    try:
        with conn.cursor().copy("copy psycopg3_copy from stdin") as copy:
            copy.write_row((2 * ROWS, "never"))
            raise KeyError("the client changed its mind")
    except KeyError:
        pass
    assert conn.execute("select count(*) from psycopg3_copy").fetchone() == (ROWS,)
    conn.execute("drop table psycopg3_copy")
