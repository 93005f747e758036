//! Routes, by host, path and method. Kind: pure.

use super::*;
use crate::config;

/// Routes in words: `host path` with `=` before an exact path and methods behind; each leads to its own number.
fn table(routes: &[&str]) -> Table {
    let config = config::Config::default();
    let route = |(index, text): (usize, &&str)| {
        let mut words = text.split(' ');
        let (host, path) = (words.next().unwrap(), words.next().unwrap());
        let hosts = if host == "*" { Vec::new() } else { vec![host.parse().unwrap()] };
        let path = match path.strip_prefix('=') {
            Some(exact) => Path::Exact(exact.as_bytes().into()),
            None => Path::Prefix(path.as_bytes().into()),
        };
        let methods: Vec<_> = words.map(str::to_owned).collect();
        (Match { hosts, path, methods: Methods::new(&methods) }, to(&config, index))
    };
    Table::new(routes.iter().enumerate().map(route))
}

fn to(config: &config::Config, index: usize) -> Route {
    Route {
        target: Target::Cluster(index),
        class: None,
        prefix: b"/".as_slice().into(),
        rewrite: None,
        timeouts: Timeouts {
            body: config.timeouts.body,
            response: config.timeouts.response,
            response_idle: config.timeouts.response_idle,
            send: config.timeouts.send,
            queue: None,
        },
        max_body: 0,
        stream_request: false,
        stream_response: false,
        request_rules: Rules::default(),
        response_rules: Rules::default(),
        addresses: Addresses::default(),
        auth: None,
        rates: Box::default(),
        compress: false,
        errors: ErrorStyle::Auto,
        log: true,
        allow_http: false,
    }
}

#[track_caller]
fn check(table: &Table, request: &str, expected: Result<usize, &str>) {
    let mut words = request.split(' ');
    let (method, host, path) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let method = (Method::of(method.as_bytes()), method.as_bytes());
    let found = match table.find(host.as_bytes(), path.as_bytes(), method.0, method.1) {
        Found::Route(Route { target: Target::Cluster(index), .. }) => Ok(*index),
        Found::Route(_) => Err("other"),
        Found::WrongMethod => Err("method"),
        Found::Nothing => Err("nothing"),
    };
    assert_eq!(found, expected, "{request}");
}

#[test]
fn the_longest_prefix_wins_and_exact_goes_before_it() {
    let table = table(&["* /", "* /a/", "* /a/b", "* =/a/b", "* /a/b/c/"]);
    check(&table, "GET h /", Ok(0));
    check(&table, "GET h /z", Ok(0));
    check(&table, "GET h /a", Ok(0));
    check(&table, "GET h /a/", Ok(1));
    check(&table, "GET h /a/x", Ok(1));
    check(&table, "GET h /a/b", Ok(3));
    check(&table, "GET h /a/b/", Ok(2));
    check(&table, "GET h /a/bc", Ok(1));
    check(&table, "GET h /a/b/c", Ok(2));
    check(&table, "GET h /a/b/c/d", Ok(4));
}

#[test]
fn a_prefix_ends_with_a_segment() {
    let table = table(&["* /api"]);
    check(&table, "GET h /api", Ok(0));
    check(&table, "GET h /api/x", Ok(0));
    check(&table, "GET h /apis", Err("nothing"));
    check(&table, "GET h /ap", Err("nothing"));
}

#[test]
fn siblings_in_between_hide_no_parent() {
    // In sorted order `/a-b` and `/a.b` stand between `/a` and `/a/`.
    let table = table(&["* /a", "* /a-b", "* /a.b", "* /a/b", "* /a/b-c"]);
    check(&table, "GET h /a/a", Ok(0));
    check(&table, "GET h /a-b/x", Ok(1));
    check(&table, "GET h /a/b-d", Ok(0));
    check(&table, "GET h /a/b/c", Ok(3));
    check(&table, "GET h /a-bc", Err("nothing"));
    check(&table, "GET h /a/z", Ok(0));
}

#[test]
fn the_exact_host_goes_before_the_wildcard_and_that_before_any() {
    let table =
        table(&["* /", "*.example.org /", "*.b.example.org /", "a.b.example.org /x/", "a.example.org /"]);
    check(&table, "GET other /", Ok(0));
    check(&table, "GET c.example.org /", Ok(1));
    check(&table, "GET example.org /", Ok(0));
    check(&table, "GET c.b.example.org /", Ok(2));
    check(&table, "GET a.b.example.org /x/y", Ok(3));
    check(&table, "GET a.b.example.org /y", Ok(2));
    check(&table, "GET a.example.org /", Ok(4));
}

#[test]
fn who_asks_with_another_method_looks_further() {
    let table = table(&["* / GET", "* /a POST", "* /a PURGE"]);
    check(&table, "POST h /a", Ok(1));
    check(&table, "GET h /a", Ok(0));
    check(&table, "HEAD h /a", Ok(0));
    check(&table, "PURGE h /a", Ok(2));
    check(&table, "BAN h /a", Err("method"));
    check(&table, "DELETE h /b", Err("method"));
}

#[test]
fn of_two_alike_the_first_wins() {
    let table = table(&["* /a", "* /a", "* =/b", "* =/b"]);
    check(&table, "GET h /a", Ok(0));
    check(&table, "GET h /b", Ok(2));
}

#[test]
fn several_hosts_share_a_route() {
    let config = config::Config::default();
    let hosts = ["a.org", "*.b.org"].map(|host| host.parse().unwrap()).to_vec();
    let matches = Match { hosts, path: Path::Prefix(b"/".as_slice().into()), methods: Methods::default() };
    let table = Table::new([(matches, to(&config, 0))]);
    check(&table, "GET a.org /", Ok(0));
    check(&table, "GET x.b.org /", Ok(0));
    check(&table, "GET b.org /", Err("nothing"));
}

proptest::proptest! {
    /// The parents lead to the same route as a look at all of them.
    #[test]
    fn the_table_finds_what_a_plain_search_finds(
        prefixes in proptest::collection::vec("(/[ab.-]{0,2}){1,3}", 1..12),
        path in "(/[ab.-]{0,2}){1,4}",
    ) {
        let words: Vec<_> = prefixes.iter().map(|prefix| format!("* {prefix}")).collect();
        let table = table(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let fits = |index: &usize| is_beneath(path.as_bytes(), prefixes[*index].as_bytes());
        let longest = (0..prefixes.len()).filter(fits).max_by_key(|index| {
            (prefixes[*index].len(), std::cmp::Reverse(*index))
        });
        check(&table, &format!("GET h {path}"), longest.ok_or("nothing"));
    }
}
