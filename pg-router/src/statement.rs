//! What a statement's text alone can tell: whether it only reads, whether it ends a transaction. Kind: pure.
//!
//! Used off the hot path, after a failure, to decide whether a statement may be run a second time. Doubt means no: a
//! statement that is not understood is answered with an error, a write that runs twice is a ticket that is sold twice.
//!
//! What no reading of the text can exclude: a view, a row-level policy, a cast or an operator that calls a volatile
//! function, or a function of the same name as a built-in one placed before `pg_catalog` in `search_path`.

mod lexer;
mod safe;

use lexer::{Token, tokens};

/// Whether a text ends the transaction in which it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does, one way or the other.
    Yes,
    /// It does not.
    No,
    /// It may: it holds several statements, or it is not understood.
    Maybe,
}

/// A statement that ends a transaction and starts none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainEnd {
    /// `COMMIT` or `END`.
    Commit,
    /// `ROLLBACK` or `ABORT`.
    Rollback,
}

/// Whether the text is one statement that reads and nothing else, so that running it twice does no harm.
pub fn reads_only(sql: &[u8]) -> bool {
    let Some(tokens) = tokens(sql) else { return false };
    match statements(&tokens).as_slice() {
        [statement] => safe::reads_only(statement),
        _ => false,
    }
}

/// Whether the text ends the transaction in which it is sent.
pub fn ends_transaction(sql: &[u8]) -> Ending {
    let Some(tokens) = tokens(sql) else { return Ending::Maybe };
    match statements(&tokens).as_slice() {
        [statement] if ends(statement) => Ending::Yes,
        several if several.iter().any(|statement| ends(statement)) => Ending::Maybe,
        _ => Ending::No,
    }
}

/// Whether the text may commit, outside a transaction, and then go on: `CALL` and `DO`
/// (<https://www.postgresql.org/docs/current/plpgsql-transactions.html>), and what is not understood.
pub fn may_commit_midway(sql: &[u8]) -> bool {
    let Some(tokens) = tokens(sql) else { return true };
    let first = |statement: &&[Token<'_>]| statement.first().and_then(Token::word);
    let is_one = |word: String| matches!(word.as_str(), "call" | "do");
    statements(&tokens).iter().filter_map(first).any(is_one)
}

/// Whether the text is exactly one plain `COMMIT` or `ROLLBACK`, under any of their names.
pub fn plain_end(sql: &[u8]) -> Option<PlainEnd> {
    let tokens = tokens(sql)?;
    match statements(&tokens).as_slice() {
        [statement] => plain(&words(statement)?),
        _ => None,
    }
}

/// Fuzz entry: any bytes as a statement.
pub fn fuzz_statement(data: &[u8]) {
    let ending = ends_transaction(data);
    if plain_end(data).is_some() {
        assert_eq!(ending, Ending::Yes, "what ends plainly ends");
    }
    assert!(!(reads_only(data) && ending != Ending::No), "what only reads ends nothing");
}

/// The statements between the semicolons, empty ones left out.
fn statements<'a, 't>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    tokens.split(|token| *token == Token::Symbol(b';')).filter(|statement| !statement.is_empty()).collect()
}

/// The statement as lower-case words, if it consists of nothing else.
fn words(statement: &[Token<'_>]) -> Option<Vec<String>> {
    statement.iter().map(Token::word).collect()
}

/// <https://www.postgresql.org/docs/current/sql-commit.html>, `sql-rollback.html`, `sql-abort.html`, `sql-end.html`.
fn plain(words: &[String]) -> Option<PlainEnd> {
    let mut words = words.iter().map(String::as_str).peekable();
    let end = match words.next()? {
        "commit" | "end" => PlainEnd::Commit,
        "rollback" | "abort" => PlainEnd::Rollback,
        _ => return None,
    };
    words.next_if(|word| matches!(*word, "work" | "transaction"));
    let rest: Vec<_> = words.collect();
    (rest.is_empty() || rest == ["and", "no", "chain"]).then_some(end)
}

/// `COMMIT PREPARED` and `ROLLBACK PREPARED` end another transaction, `ROLLBACK TO` ends none.
fn ends(statement: &[Token<'_>]) -> bool {
    let word = |at: usize| statement.get(at).and_then(Token::word);
    let noise = usize::from(matches!(word(1).as_deref(), Some("work" | "transaction")));
    let (first, second) = (word(0), word(1 + noise));
    match (first.as_deref(), second.as_deref()) {
        (Some("commit" | "rollback"), Some("prepared")) | (Some("rollback"), Some("to")) => false,
        (Some("commit" | "end" | "rollback" | "abort"), _) => true,
        (Some("prepare"), _) => word(1).as_deref() == Some("transaction"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_reads(expected: bool, sqls: &[&str]) {
        for sql in sqls {
            assert_eq!(reads_only(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn plain_reads_may_run_again() {
        check_reads(
            true,
            &[
                "SELECT 1",
                "select 1;",
                "  SELECT /* url=presale:event.index */ id FROM t WHERE a = $1 -- end",
                "SELECT count(*), sum(x), max(y) FROM t GROUP BY z HAVING count(*) > 1",
                "SELECT * FROM t WHERE a IN (1, 2) AND (b OR NOT (c)) AND EXISTS (SELECT 1 FROM u)",
                "SELECT 'a''b', E'it\\'s', $$text$$, $q$ nextval('x') $q$",
                "SELECT \"into\", \"nextval\" FROM \"update\"",
                "SELECT x::numeric(10, 2), CAST(y AS varchar(3)) FROM t",
                "SELECT coalesce(a, b), extract(year FROM c), substring(d FROM 1 FOR 3) FROM t",
                "SELECT pg_catalog.count(*) FROM t",
                "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t",
                "TABLE t",
                "VALUES (1, 2), (3, 4)",
                "SHOW server_version",
                "SELECT pg_is_in_recovery()",
                "WITH x AS (SELECT 1) SELECT * FROM x",
                "WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x JOIN y USING (id)",
                "SELECT 1 /* outer /* inner */ still outer */",
                "SELECT ARRAY[1,2], a[1], (b).c FROM t LIMIT 5 OFFSET (2)",
                "SELECT 1 -- ; DELETE FROM t",
            ],
        );
    }

    #[test]
    fn writes_and_doubts_may_not() {
        check_reads(
            false,
            &[
                "",
                ";",
                "INSERT INTO t VALUES (1)",
                "UPDATE t SET a = 1",
                "DELETE FROM t",
                "SELECT 1; SELECT 2",
                "SELECT * INTO u FROM t",
                "SELECT * FROM t FOR UPDATE",
                "SELECT * FROM t FOR /* x */ NO KEY UPDATE",
                "SELECT * FROM t FOR SHARE",
                "SELECT * FROM t FOR KEY SHARE SKIP LOCKED",
                "WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x",
                "WITH x AS (SELECT 1) DELETE FROM t",
                "WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DO NOTHING",
                "SELECT nextval('s')",
                "SELECT nextval ('s')",
                "SELECT nextval /* x */ -- y\n ('s')",
                "SELECT \"nextval\"('s')",
                "SELECT \"count\"(1)",
                "SELECT set_config('a', 'b', false)",
                "SELECT pg_advisory_xact_lock_shared(1)",
                "SELECT pg_sleep(1)",
                "SELECT lo_import('x')",
                "SELECT my.count(1)",
                "SELECT a.pg_catalog.count(1)",
                "SELECT dblink('x', 'y')",
                "EXPLAIN ANALYZE SELECT 1",
                "COPY t TO STDOUT",
                "CALL p()",
                "DO $$ begin end $$",
                "SET a = 1",
                "BEGIN",
                "SELECT 'a\\'; DELETE FROM t; --'",
                "SELECT 'unterminated",
                "SELECT /* unterminated",
                "SELECT $q$ unterminated $Q$",
                "SELECT \"unterminated",
                "SELECT U&'\\0041'",
                "SELECT U&\"d\" (1)",
                "SELECT E'\u{8868}\\'",
                "SELECT 1\0",
                "SELECT (1",
                "EXECUTE p",
                "FETCH c",
            ],
        );
    }

    fn check_ending(expected: Ending, sqls: &[&str]) {
        for sql in sqls {
            assert_eq!(ends_transaction(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn an_end_is_recognised() {
        let yes = [
            "COMMIT",
            "commit work;",
            "END TRANSACTION",
            "ROLLBACK",
            "abort",
            "/* bye */ COMMIT AND CHAIN",
            "PREPARE TRANSACTION 'x'",
            ";;COMMIT;",
        ];
        check_ending(Ending::Yes, &yes);
        let no = [
            "",
            "SELECT 1",
            "ROLLBACK TO SAVEPOINT a",
            "ROLLBACK WORK TO a",
            "ROLLBACK TRANSACTION TO SAVEPOINT a",
            "COMMIT PREPARED 'x'",
            "ROLLBACK PREPARED 'x'",
            "PREPARE p AS SELECT 1",
            "SELECT 'COMMIT'",
            "SELECT 1; SELECT 2",
            "\"commit\"",
            "RELEASE SAVEPOINT a",
        ];
        check_ending(Ending::No, &no);
        let maybe = ["SELECT 1; COMMIT", "COMMIT; BEGIN", "SELECT 'x\\'; COMMIT", "/* COMMIT"];
        check_ending(Ending::Maybe, &maybe);
    }

    #[test]
    fn plain_ends_are_told_apart() {
        let cases = [
            ("COMMIT", Some(PlainEnd::Commit)),
            ("end work", Some(PlainEnd::Commit)),
            ("COMMIT AND NO CHAIN;", Some(PlainEnd::Commit)),
            ("rollback;", Some(PlainEnd::Rollback)),
            ("ABORT TRANSACTION", Some(PlainEnd::Rollback)),
            ("COMMIT AND CHAIN", None),
            ("ROLLBACK TO a", None),
            ("COMMIT PREPARED 'x'", None),
            ("COMMIT; ROLLBACK", None),
            ("BEGIN", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(plain_end(sql.as_bytes()), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_statement(&data);
        }

        #[test]
        fn no_mixture_of_pieces_panics(pieces in proptest::collection::vec(piece(), 0..20)) {
            fuzz_statement(pieces.concat().as_bytes());
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "SELECT ",
            "COMMIT",
            "ROLLBACK ",
            "TO ",
            "'",
            "\"",
            "$$",
            "$a$",
            "/*",
            "*/",
            "--",
            "\n",
            ";",
            "(",
            ")",
            "E'",
            "\\",
            "count(",
            " x ",
            "FOR ",
            "UPDATE",
            "U&'",
            "é",
            "\0",
            "$1",
            "1e5",
        ])
    }
}
