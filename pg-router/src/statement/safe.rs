//! Which statements only read: a list of what is known to be harmless, and a refusal of all else. Kind: pure.

use super::lexer::Token;

/// Whether one statement reads and does nothing else.
pub(super) fn reads_only(statement: &[Token<'_>]) -> bool {
    let first = statement.first().and_then(Token::word);
    let starts_well = first.is_some_and(|first| READERS.contains(&first.as_str()));
    starts_well
        && balanced(statement)
        && !locks(statement)
        && words_are_harmless(statement)
        && calls_are_known(statement)
}

/// Cut off or garbled texts are not reasoned about.
fn balanced(statement: &[Token<'_>]) -> bool {
    let mut depth = 0_usize;
    for token in statement {
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') if depth == 0 => return false,
            Token::Symbol(b')') => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE`, `FOR KEY SHARE` take locks that a second run takes anew.
fn locks(statement: &[Token<'_>]) -> bool {
    let is =
        |token: &Token<'_>, words: &[&str]| token.word().is_some_and(|word| words.contains(&word.as_str()));
    statement.windows(2).any(|pair| is(&pair[0], &["for"]) && is(&pair[1], &["update", "no", "share", "key"]))
}

/// None of the words with which data is changed stands anywhere, be it as the name of a column.
fn words_are_harmless(statement: &[Token<'_>]) -> bool {
    !statement.iter().filter_map(Token::word).any(|word| WRITERS.contains(&word.as_str()))
}

/// Whatever stands before a parenthesis is a word of the grammar or a function that is known to only compute.
fn calls_are_known(statement: &[Token<'_>]) -> bool {
    let open = |at: usize| statement.get(at + 1) == Some(&Token::Symbol(b'('));
    (0..statement.len()).filter(|at| open(*at)).all(|at| may_open(statement, at))
}

fn may_open(statement: &[Token<'_>], at: usize) -> bool {
    match &statement[at] {
        Token::Quoted => false,
        Token::Symbol(_) | Token::Constant => true,
        word => word.word().is_some_and(|word| is_known(statement, at, &word)),
    }
}

fn is_known(statement: &[Token<'_>], at: usize, word: &str) -> bool {
    let qualified = at > 0 && statement[at - 1] == Token::Symbol(b'.');
    if qualified { in_catalog(statement, at) && FUNCTIONS.contains(&word) } else { opens_or_computes(word) }
}

fn opens_or_computes(word: &str) -> bool {
    GRAMMAR.contains(&word) || FUNCTIONS.contains(&word)
}

/// Whether the name at this place is written as `pg_catalog.name`, with nothing further before it.
fn in_catalog(statement: &[Token<'_>], at: usize) -> bool {
    let schema = at.checked_sub(2).and_then(|schema| statement[schema].word());
    let longer = at.checked_sub(3).is_some_and(|before| statement[before] == Token::Symbol(b'.'));
    schema.as_deref() == Some("pg_catalog") && !longer
}

const READERS: &[&str] = &["select", "table", "values", "show", "with"];

const WRITERS: &[&str] = &["into", "insert", "update", "delete", "merge", "truncate", "returning"];

/// Words of the grammar, and names of types, that may stand before a parenthesis.
#[rustfmt::skip]
const GRAMMAR: &[&str] = &[
    "all", "and", "any", "array", "as", "asc", "between", "by", "case", "cast", "cube", "desc", "distinct", "else",
    "except", "exists", "filter", "first", "from", "group", "having", "ilike", "in", "intersect", "is", "join",
    "lateral", "like", "limit", "materialized", "next", "not", "offset", "on", "or", "order", "over", "rollup", "row",
    "select", "sets", "similar", "some", "symmetric", "then", "to", "union", "using", "values", "when", "where", "within",
    "bit", "char", "character", "decimal", "interval", "numeric", "precision", "time", "timestamp", "timestamptz",
    "varbit", "varchar", "varying", "float",
];

/// Built-in functions that compute and change nothing, the pure part of
/// <https://www.postgresql.org/docs/current/functions.html>.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "abs", "age", "array_agg", "array_length", "array_position", "array_remove", "array_to_string", "ascii", "avg",
    "bit_and", "bit_length", "bit_or", "bool_and", "bool_or", "btrim", "cardinality", "ceil", "ceiling", "char_length",
    "character_length", "chr", "clock_timestamp", "coalesce", "concat", "concat_ws", "corr", "count", "cume_dist",
    "current_database", "current_schema", "current_schemas", "current_setting", "date", "date_bin", "date_part",
    "date_trunc", "decode", "dense_rank", "encode", "every", "exp", "extract", "first_value", "floor", "format",
    "format_type", "generate_series", "greatest", "has_schema_privilege", "has_table_privilege", "inet_server_addr",
    "inet_server_port", "initcap", "json_agg", "json_array_length", "json_build_array", "json_build_object",
    "json_object_agg", "jsonb_agg", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length",
    "jsonb_build_array", "jsonb_build_object", "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_object_agg",
    "jsonb_typeof", "justify_days", "justify_hours", "lag", "last_value", "lead", "least", "left", "length", "ln", "log",
    "lower", "lpad", "ltrim", "make_date", "make_interval", "max", "md5", "min", "mod", "mode", "now", "nth_value",
    "ntile", "nullif", "obj_description", "octet_length", "overlay", "percent_rank", "percentile_cont",
    "percentile_disc", "pg_backend_pid", "pg_get_constraintdef", "pg_get_expr", "pg_get_indexdef",
    "pg_get_serial_sequence", "pg_get_userbyid", "pg_is_in_recovery", "pg_table_is_visible", "pg_typeof", "plainto_tsquery",
    "position", "power", "quote_ident", "quote_literal", "rank", "regexp_match", "regexp_matches", "regexp_replace",
    "repeat", "replace", "reverse", "right", "round", "row_number", "row_to_json", "rpad", "rtrim", "sign", "split_part",
    "sqrt", "starts_with", "statement_timestamp", "stddev", "string_agg", "string_to_array", "strpos", "substr",
    "substring", "sum", "to_char", "to_date", "to_json", "to_jsonb", "to_number", "to_timestamp", "to_tsquery",
    "to_tsvector", "translate", "trim", "trunc", "ts_headline", "ts_rank", "unnest", "upper", "variance", "version",
    "width_bucket",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_with_an_effect_is_on_the_list() {
        let effects = [
            "nextval",
            "setval",
            "set_config",
            "pg_sleep",
            "txid_current",
            "lo_create",
            "dblink",
            "query_to_xml",
        ];
        assert!(effects.iter().all(|name| !opens_or_computes(name)));
        assert!(!FUNCTIONS.iter().any(|name| name.contains("advisory") || name.contains("notify")));
    }
}
