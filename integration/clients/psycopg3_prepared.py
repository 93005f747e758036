"""psycopg 3 prepares every statement by name; two connections use the same names for different statements."""

import sys

import psycopg

first = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=0)
second = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=0)
for turn in range(20):
    assert first.execute("select %s::int + 1", [turn]).fetchone() == (turn + 1,)
    assert second.execute("select %s::int * 2", [turn]).fetchone() == (turn * 2,)
    with first.transaction():
        assert first.execute("select %s::text", ["x"]).fetchone() == ("x",)
first.close()
assert second.execute("select %s::int * 2", [21]).fetchone() == (42,)
