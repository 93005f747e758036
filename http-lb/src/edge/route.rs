//! Which route a request takes: found by its host and its normalised path, without an allocation. Kind: pure.
//!
//! ```text
//!   host:  exact, else the longest wildcard, else any
//!   path:  exact, else the longest prefix by whole segments
//!   else:  the next host, until nobody is left
//! ```

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{ErrorStyle, HostPattern};
use crate::files::MountId;
use crate::queue::Class;
use crate::wire::Method;

use super::access::Addresses;
use super::auth::Auth;
use super::redirect::Target as Address;
use super::rules::Rules;

/// What is decided about all requests that take the same way.
#[derive(Debug)]
pub struct Route {
    /// Where they go.
    pub target: Target,
    /// How much they matter, if that doesn't depend on each of them.
    pub class: Option<Class>,
    /// What of the path is the route's own, so that the rest can be told.
    pub prefix: Box<[u8]>,
    /// What takes its place on the way to the replica.
    pub rewrite: Option<Box<[u8]>>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Bytes of a request's body.
    pub max_body: u64,
    /// Whether the request's body is passed on as it comes.
    pub stream_request: bool,
    /// Whether the answer's body is passed on as it comes.
    pub stream_response: bool,
    /// Changes to requests.
    pub request_rules: Rules,
    /// Changes to answers.
    pub response_rules: Rules,
    /// Who may.
    pub addresses: Addresses,
    /// Who must say who they are.
    pub auth: Option<std::sync::Arc<Auth>>,
    /// The rates that hold, by their places in the edge.
    pub rates: Box<[usize]>,
    /// Whether answers are compressed on the fly.
    pub compress: bool,
    /// How errors of ours look.
    pub errors: ErrorStyle,
    /// Whether requests are in the access log.
    pub log: bool,
    /// Whether plain http is served although others are sent to https.
    pub allow_http: bool,
}

/// Where a route leads.
#[derive(Debug)]
pub enum Target {
    /// To the cluster at this place in the configuration.
    Cluster(usize),
    /// To a folder; what isn't there is asked of the cluster, if there is one.
    Files {
        /// The folder.
        mount: MountId,
        /// The cluster at this place in the configuration.
        fallback: Option<usize>,
    },
    /// To another address.
    Redirect {
        /// Which.
        to: Address,
        /// 301 to 308.
        status: u16,
    },
    /// Nowhere.
    Respond {
        /// The answer's status.
        status: u16,
        /// Its type and body; a page of ours if absent.
        body: Option<(Box<str>, bytes::Bytes)>,
    },
}

/// How long things of a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A request's body.
    pub body: Duration,
    /// To the head of the replica's answer.
    pub response: Duration,
    /// Between two pieces of it.
    pub response_idle: Duration,
    /// To send the answer.
    pub send: Duration,
    /// In the queue; that of the cluster if absent.
    pub queue: Option<Duration>,
}

/// For which requests a route is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The hosts; none: all.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: Path,
    /// The methods.
    pub methods: Methods,
}

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// This and no other.
    Exact(Box<[u8]>),
    /// All beneath, by whole segments.
    Prefix(Box<[u8]>),
}

/// A set of methods; the empty one is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Methods {
    known: u16,
    others: Vec<Box<[u8]>>,
}

impl Methods {
    /// The methods of these names. HEAD goes where GET does (RFC 9110 9.3.2).
    pub fn new(names: &[String]) -> Self {
        let mut set = Self::default();
        for name in names {
            match Method::of(name.as_bytes()) {
                Method::Other => set.others.push(name.as_bytes().into()),
                Method::Get => set.known |= bit(Method::Get) | bit(Method::Head),
                method => set.known |= bit(method),
            }
        }
        set
    }

    /// Whether the method is one of them.
    pub fn has(&self, method: Method, text: &[u8]) -> bool {
        match method {
            _ if self.known == 0 && self.others.is_empty() => true,
            Method::Other => self.others.iter().any(|other| **other == *text),
            method => self.known & bit(method) != 0,
        }
    }
}

const fn bit(method: Method) -> u16 {
    1 << method as u16
}

/// What was found.
#[derive(Debug)]
pub enum Found<'a> {
    /// This.
    Route(&'a Route),
    /// The path is known, but not with this method.
    WrongMethod,
    /// Nothing.
    Nothing,
}

/// All routes.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
    methods: Vec<Methods>,
    exact_hosts: HashMap<Box<[u8]>, Paths>,
    /// Longest first.
    wildcards: Vec<(Box<[u8]>, Paths)>,
    any_host: Paths,
}

/// The routes of a host, by path.
#[derive(Debug, Default)]
struct Paths {
    /// Sorted by path.
    exact: Vec<(Box<[u8]>, Vec<usize>)>,
    /// Sorted by prefix.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<[u8]>,
    routes: Vec<usize>,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
}

impl Table {
    /// A table of these; of two that are for the same requests the earlier one wins.
    pub fn new(all: impl IntoIterator<Item = (Match, Route)>) -> Self {
        let mut table = Self::default();
        for (index, (matches, route)) in all.into_iter().enumerate() {
            for paths in table.paths_of(&matches.hosts) {
                paths.insert(&matches.path, index);
            }
            table.routes.push(route);
            table.methods.push(matches.methods);
        }
        table.wildcards.sort_by_key(|(end, _)| std::cmp::Reverse(end.len()));
        let hosts = table.exact_hosts.values_mut().chain(table.wildcards.iter_mut().map(|(_, paths)| paths));
        hosts.chain([&mut table.any_host]).for_each(Paths::link);
        table
    }

    fn paths_of(&mut self, hosts: &[HostPattern]) -> Vec<&mut Paths> {
        if hosts.is_empty() {
            return vec![&mut self.any_host];
        }
        for host in hosts {
            match host {
                HostPattern::Exact(name) => _ = self.exact_hosts.entry(name.as_bytes().into()).or_default(),
                HostPattern::Beneath(end) => {
                    let end: Box<[u8]> = end.as_bytes().into();
                    if !self.wildcards.iter().any(|(known, _)| *known == end) {
                        self.wildcards.push((end, Paths::default()));
                    }
                }
            }
        }
        let named = |name: &[u8]| {
            hosts.iter().any(|host| matches!(host, HostPattern::Exact(host) if host.as_bytes() == name))
        };
        let beneath = |name: &[u8]| {
            hosts.iter().any(|host| matches!(host, HostPattern::Beneath(end) if end.as_bytes() == name))
        };
        let exact = self.exact_hosts.iter_mut().filter(|(name, _)| named(name)).map(|(_, paths)| paths);
        let wild = self.wildcards.iter_mut().filter(|(end, _)| beneath(end)).map(|(_, paths)| paths);
        exact.chain(wild).collect()
    }

    /// The route of a request for this host (lower case, without its port) and normalised path.
    pub fn find(&self, host: &[u8], path: &[u8], method: Method, text: &[u8]) -> Found<'_> {
        let mut seen = false;
        let mut look = |paths: &Paths| {
            paths.find(path, |index| {
                seen = true;
                self.methods[index].has(method, text)
            })
        };
        let found = self.of_host(host, &mut look).or_else(|| look(&self.any_host));
        match found {
            Some(index) => Found::Route(&self.routes[index]),
            None if seen => Found::WrongMethod,
            None => Found::Nothing,
        }
    }

    fn of_host(&self, host: &[u8], look: &mut impl FnMut(&Paths) -> Option<usize>) -> Option<usize> {
        if self.exact_hosts.is_empty() && self.wildcards.is_empty() {
            return None;
        }
        let exact = self.exact_hosts.get(host).and_then(&mut *look);
        let beneath = |end: &[u8]| host.len() > end.len() && host.ends_with(end);
        exact.or_else(|| {
            let mut wild = self.wildcards.iter().filter(|(end, _)| beneath(end));
            wild.find_map(|(_, paths)| look(paths))
        })
    }

    /// All of them, in the order in which they were written.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Paths {
    fn insert(&mut self, path: &Path, index: usize) {
        match path {
            Path::Exact(path) => {
                match self.exact.binary_search_by(|(known, _)| known.cmp(path)) {
                    Ok(at) => self.exact[at].1.push(index),
                    Err(at) => self.exact.insert(at, (path.clone(), vec![index])),
                };
            }
            Path::Prefix(path) => {
                match self.prefixes.binary_search_by(|known| known.text.cmp(path)) {
                    Ok(at) => self.prefixes[at].routes.push(index),
                    Err(at) => {
                        let prefix = Prefix { text: path.clone(), routes: vec![index], parent: None };
                        self.prefixes.insert(at, prefix);
                    }
                };
            }
        }
    }

    /// Finds the parents, once all prefixes are there. In sorted order a prefix stands before all that begin with it.
    fn link(&mut self) {
        for at in 0..self.prefixes.len() {
            let (before, rest) = self.prefixes.split_at(at);
            let parent = before.iter().rposition(|known| rest[0].text.starts_with(&known.text));
            self.prefixes[at].parent = parent;
        }
    }

    fn find(&self, path: &[u8], mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let exact = self.exact.binary_search_by(|(known, _)| (**known).cmp(path)).ok();
        let exact = exact.and_then(|at| self.exact[at].1.iter().copied().find(|index| fits(*index)));
        exact.or_else(|| self.longest_prefix(path, fits))
    }

    /// The last prefix that is not behind the path in sorted order begins like it for as long as any of them does; so
    /// the longest one is that one or among those that it begins with.
    fn longest_prefix(&self, path: &[u8], mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let behind = self.prefixes.partition_point(|known| *known.text <= *path);
        let mut at = behind.checked_sub(1);
        while let Some(prefix) = at.map(|at| &self.prefixes[at]) {
            if is_beneath(path, &prefix.text)
                && let Some(index) = prefix.routes.iter().copied().find(|index| fits(*index))
            {
                return Some(index);
            }
            at = prefix.parent;
        }
        None
    }
}

/// Whether a path is a prefix or lies beneath it: `/api` has `/api` and `/api/x`, but not `/apis`.
pub fn is_beneath(path: &[u8], prefix: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/")
}

#[cfg(test)]
mod tests;
