"""psycopg 3 in pipeline mode: many statements in flight, an error in the middle hurts its own pipeline alone."""

import sys

import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    with conn.pipeline():
        cursors = [conn.execute("select %s::int * 7", [n]) for n in range(500)]
        answers = [cursor.fetchone()[0] for cursor in cursors]
    assert answers == [n * 7 for n in range(500)], answers

    try:
        with conn.pipeline():
            conn.execute("select 1")
            conn.execute("select 1 / 0")
            conn.execute("select 2")
    except psycopg.errors.DivisionByZero:
        pass
    else:
        raise AssertionError("a division by zero went unnoticed")
    assert conn.execute("select 3").fetchone() == (3,)
