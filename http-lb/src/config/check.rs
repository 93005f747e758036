//! What no single setting can tell: contradictions, and names that nobody has. Kind: pure.

use std::collections::BTreeSet;

use proxy_core::config::Invalid;
use proxy_core::error::Error;

use super::{Cluster, Config, Files, HeaderRules, Route};

type Checked = Result<(), Invalid>;

pub(super) fn all(config: &Config) -> Checked {
    something_to_serve(config)?;
    listeners(config)?;
    each(&config.clusters, |index, cluster| self::cluster(config, index, cluster))?;
    each(&config.files, |index, files| self::files(config, index, files))?;
    each(&config.routes, |index, route| self::route(config, index, route))?;
    classes(config)?;
    edge(config)
}

/// Walks a list with the place of each element.
fn each<T>(list: &[T], check: impl Fn(usize, &T) -> Checked) -> Checked {
    list.iter().enumerate().try_for_each(|(index, one)| check(index, one))
}

fn ensure(holds: bool, key: impl Into<String>, text: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { Err(Invalid::new(key, text)) }
}

fn something_to_serve(config: &Config) -> Checked {
    let something = !(config.clusters.is_empty() && config.files.is_empty() && config.routes.is_empty());
    let text =
        "there is nothing to serve; write [[clusters]] with upstreams = [\"host:8000\"], or give --upstream";
    ensure(something, "clusters", text)?;
    let text = "there is no address for clients; write [[listeners]], or give --listen";
    ensure(!config.listeners.is_empty(), "listeners", text)
}

fn listeners(config: &Config) -> Checked {
    each(&config.listeners, |index, listener| {
        let key = |name: &str| format!("listeners[{index}].{name}");
        ensure(
            !listener.tls || config.tls.is_some(),
            key("tls"),
            "needs a certificate; write [[tls.certificates]]",
        )?;
        let believed = !listener.proxy_protocol_required || !listener.proxy_protocol_from.is_empty();
        let text = "nobody could come in; write in proxy_protocol_from whose headers are believed";
        ensure(believed, key("proxy_protocol_required"), text)?;
        ensure(listener.max_connections > 0, key("max_connections"), "nobody could come in; write 1 or more")
    })?;
    let Some(tls) = &config.tls else { return Ok(()) };
    ensure(!tls.certificates.is_empty(), "tls.certificates", "there is none; write [[tls.certificates]]")?;
    tls.config(&[]).map(drop).map_err(|error| Invalid::new("tls", error.to_string()))
}

fn cluster(config: &Config, index: usize, cluster: &Cluster) -> Checked {
    let key = |name: &str| format!("clusters[{index}].{name}");
    let named = is_label(&cluster.name);
    ensure(named, key("name"), format!("{:?} can be no name; use letters, digits, - _ .", cluster.name))?;
    let twice = config.clusters.iter().filter(|other| other.name == cluster.name).count() > 1;
    ensure(!twice, key("name"), format!("{:?} stands there twice", cluster.name))?;
    let text = format!("{:?} has no replicas; write upstreams = [\"host:8000\"]", cluster.name);
    ensure(!cluster.upstreams.is_empty(), key("upstreams"), text)?;
    for class in cluster.queue.max_of_class.keys() {
        let place = config.class_names().iter().position(|name| name == class);
        known(place, key("queue.max_of_class"), class, "[[classes]]")?;
    }
    ensure(cluster.queue.low_share_percent <= 100, key("queue.low_share_percent"), "is 0 to 100")?;
    ensure(cluster.panic_below <= 100, key("panic_below"), "is 0 to 100")?;
    if let Some(check) = &cluster.check {
        ensure(is_path(&check.path), key("check.path"), "is no path; it begins with a slash")?;
        ensure(is_token(&check.method), key("check.method"), "is a word such as \"GET\"")?;
        ensure(is_value(&check.host), key("check.host"), "has a control byte or a letter beyond ASCII")?;
        ensure(check.rise > 0 && check.fall > 0, key("check"), "rise and fall are 1 or more")?;
        ensure(!check.interval.is_zero(), key("check.interval"), "would never pause; write 100ms or more")?;
        let expected = check.expect.iter().all(|status| (100..=599).contains(status));
        ensure(expected && !check.expect.is_empty(), key("check.expect"), "write statuses such as [200]")?;
    }
    if let Some(sticky) = &cluster.sticky {
        ensure(is_token(&sticky.cookie), key("sticky.cookie"), "can be no cookie's name")?;
    }
    let wrong = |error: Error| Invalid::new(key("tls"), error.to_string());
    cluster.tls.as_ref().map(|tls| tls.config(&[])).transpose().map(drop).map_err(wrong)
}

fn files(config: &Config, index: usize, files: &Files) -> Checked {
    let key = |name: &str| format!("files[{index}].{name}");
    let prefix = is_path(&files.prefix) && files.prefix.ends_with('/');
    ensure(prefix, key("prefix"), "begins and ends with a slash, such as \"/static/\"")?;
    let twice = config.files.iter().filter(|other| other.name() == files.name()).count() > 1;
    ensure(!twice, key("name"), format!("{:?} stands there twice; give one a name", files.name()))?;
    let beneath = |path: &&String| path.starts_with('/') || path.is_empty();
    let wrong = files.deny.iter().chain(&files.only).chain(&files.index).find(beneath);
    ensure(
        wrong.is_none(),
        key("deny"),
        "deny, only and index are paths beneath the prefix, without its slash",
    )?;
    if let Some(fallback) = &files.fallback {
        known(config.cluster(fallback), key("fallback"), fallback, "[[clusters]]")?;
    }
    files.headers.iter().try_for_each(|(name, value)| header(&key("headers"), name, value))
}

fn route(config: &Config, index: usize, route: &Route) -> Checked {
    let key = |name: &str| format!("routes[{index}].{name}");
    let targets =
        [route.cluster.is_some(), route.files.is_some(), route.redirect.is_some(), route.respond.is_some()];
    let one = targets.iter().filter(|given| **given).count() == 1;
    let text = "needs exactly one of cluster, files, redirect and respond";
    ensure(one, format!("routes[{index}]"), text)?;
    let both = route.path.is_some() && route.exact.is_some();
    ensure(!both, key("exact"), "stands beside path; write one of the two")?;
    for (name, path) in [("path", &route.path), ("exact", &route.exact)] {
        let fits = path.as_ref().is_none_or(|path| is_path(path));
        ensure(
            fits,
            key(name),
            "is no path as requests are seen: it begins with a slash and has no //, ., .. or %",
        )?;
    }
    if let Some(cluster) = &route.cluster {
        known(config.cluster(cluster), key("cluster"), cluster, "[[clusters]]")?;
    }
    if let Some(files) = &route.files {
        known(
            config.folder(files),
            key("files"),
            files,
            "[[files]]; a folder without a name goes by its prefix",
        )?;
    }
    if let Some(class) = &route.class {
        let place = config.class_names().iter().position(|name| name == class);
        known(place, key("class"), class, "[[classes]]")?;
    }
    for limit in &route.rate_limits {
        known(config.rate_limit(limit), key("rate_limits"), limit, "[[rate_limits]]")?;
    }
    ensure(route.methods.iter().all(|method| is_token(method)), key("methods"), "are words such as \"GET\"")?;
    route_answer(route, key)?;
    header_rules(&key("request_headers"), &route.request_headers)?;
    header_rules(&key("response_headers"), &route.response_headers)
}

fn route_answer(route: &Route, key: impl Fn(&str) -> String) -> Checked {
    if let Some(redirect) = &route.redirect {
        let known = [301, 302, 303, 307, 308].contains(&redirect.status);
        ensure(known, key("redirect.status"), "is 301, 302, 303, 307 or 308")?;
        let plain = redirect.to.bytes().all(|byte| byte.is_ascii_graphic()) && !redirect.to.is_empty();
        ensure(plain, key("redirect.to"), "is an address or a path, without blanks")?;
        let taken = redirect.to.contains("{host}") && route.hosts.is_empty();
        let text = "{host} would be whatever a client says; write in hosts which ones are ours";
        ensure(!taken, key("redirect.to"), text)?;
    }
    if let Some(respond) = &route.respond {
        ensure((200..=599).contains(&respond.status), key("respond.status"), "is a status from 200 to 599")?;
        header(&key("respond.content_type"), "content-type", &respond.content_type)?;
    }
    if let Some(rewrite) = &route.rewrite {
        ensure(is_path(&rewrite.prefix), key("rewrite.prefix"), "is no path; it begins with a slash")?;
        let proxied = route.cluster.is_some() && route.exact.is_none();
        ensure(proxied, key("rewrite"), "needs a path (a prefix) and a cluster")?;
    }
    if let Some(auth) = &route.basic_auth {
        let plain = !auth.realm.contains(['"', '\\']) && is_value(&auth.realm);
        ensure(plain, key("basic_auth.realm"), "is a text without quotes and backslashes")?;
    }
    Ok(())
}

/// Each is a line of its own in every queue, and some series in the metrics.
const MOST_CLASSES: usize = 8;

fn classes(config: &Config) -> Checked {
    let names: BTreeSet<_> = config.classes.iter().map(|class| &class.name).collect();
    ensure(names.len() == config.classes.len(), "classes", "two of them have the same name")?;
    ensure(config.classes.len() <= MOST_CLASSES, "classes", "are 8 at most")?;
    let rest = config.classes.iter().filter(|class| class.rules.is_empty()).count();
    ensure(rest <= 1, "classes", "two of them have no rules, and only one can take the rest")?;
    each(&config.classes, |index, class| {
        let text = format!("{:?} can be no name; use letters, digits, - _ .", class.name);
        ensure(is_label(&class.name), format!("classes[{index}].name"), text)
    })
}

fn edge(config: &Config) -> Checked {
    ensure(is_token(&config.client.request_id), "client.request_id", "can be no header field's name")?;
    let redirected = !config.https.redirect || !config.https.hosts.is_empty();
    let text = "needs https.hosts: where clients are sent is never taken from what they say";
    ensure(redirected, "https.redirect", text)?;
    let known = [301, 302, 307, 308].contains(&config.https.status);
    ensure(known, "https.status", "is 301, 302, 307 or 308")?;
    each(&config.rate_limits, |index, limit| {
        let key = |name: &str| format!("rate_limits[{index}].{name}");
        ensure(is_label(&limit.name), key("name"), "can be no name; use letters, digits, - _ .")?;
        let twice = config.rate_limits.iter().filter(|other| other.name == limit.name).count() > 1;
        ensure(!twice, key("name"), format!("{:?} stands there twice", limit.name))?;
        ensure(
            limit.requests > 0 && !limit.per.is_zero(),
            key("requests"),
            "nobody could come in; write 1 or more",
        )?;
        ensure(limit.burst != Some(0), key("burst"), "nobody could come in; write 1 or more")?;
        ensure(limit.max_keys > 0, key("max_keys"), "nobody could be remembered; write 1 or more")
    })?;
    let compression = &config.compression;
    ensure(compression.algorithms.len() <= 3, "compression.algorithms", "one of them stands there twice")?;
    ensure((1..=9).contains(&compression.gzip_level), "compression.gzip_level", "is 1 to 9")?;
    ensure(compression.brotli_level <= 11, "compression.brotli_level", "is 0 to 11")?;
    ensure((1..=19).contains(&compression.zstd_level), "compression.zstd_level", "is 1 to 19")?;
    ensure(config.limits.fields > 0, "limits.fields", "no request could come in; write 1 or more")?;
    let line = config.limits.line <= config.limits.head;
    ensure(line, "limits.line", "is more than limits.head, of which it is a part")?;
    ensure(config.http2.streams > 0, "http2.streams", "no request could come in; write 1 or more")
}

fn known(place: Option<usize>, key: String, name: &str, table: &str) -> Checked {
    ensure(place.is_some(), key, format!("{name:?} is none of {table}"))
}

fn header_rules(key: &str, rules: &HeaderRules) -> Checked {
    rules.remove.iter().try_for_each(|name| header(key, name, ""))?;
    rules.set.iter().chain(&rules.add).try_for_each(|(name, value)| header(key, name, value))
}

/// Fields that frame a message or name its ends are no rule's business (RFC 9110 7.6.1, RFC 9112 6), and neither is the
/// policy with which the application protects its pages.
const UNTOUCHABLE: [&str; 10] = [
    "connection",
    "content-length",
    "content-security-policy",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

fn header(key: &str, name: &str, value: &str) -> Checked {
    ensure(is_token(name), key, format!("{name:?} can be no header field's name"))?;
    ensure(
        is_value(value),
        key,
        format!("the value of {name:?} has a control byte or a letter beyond ASCII"),
    )?;
    let ours = UNTOUCHABLE.iter().any(|known| name.eq_ignore_ascii_case(known));
    ensure(!ours, key, format!("{name:?} is no rule's business; leave it out"))
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(part)
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A path as normalised ones are: what is compared with it has no other shape.
fn is_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let plain = !path.contains(['%', '?', '#', '\\']) && path.bytes().all(|byte| byte > 0x20 && byte != 0x7f);
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    let dotted = |segment: &str| matches!(segment, "." | "..");
    plain && !path.contains("//") && !inner.split('/').any(dotted)
}
