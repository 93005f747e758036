//! What a binary adds to the admin endpoint: more to look at, and something to do. Kind: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

/// What a route answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The text; JSON if it begins like that.
    pub text: String,
}

impl Reply {
    /// An answer of this status.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

/// What the request's query says: `?master=mymaster&node=redis-1:6379`, without any decoding but that of `%`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads the part of a request's target behind the question mark.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        Self(pairs.map(pair).collect())
    }

    /// The value of a name; the last one, if it is there twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Without percent-encoding (RFC 3986 section 2.1); what is not encoded rightly stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

type Tell = Arc<dyn Fn(&Query) -> Reply + Send + Sync>;
type Act = Arc<dyn Fn(Query) -> BoxFuture<'static, Reply> + Send + Sync>;

/// What is behind a path.
#[derive(Clone)]
pub(super) enum Route {
    /// Something to look at: `GET`.
    Look(Tell),
    /// Something to do: `POST`, and how long it may take.
    Act(Act, Duration),
}

/// The paths that a binary adds. Clones share them.
#[derive(Clone, Default)]
pub struct Routes {
    routes: Arc<Mutex<BTreeMap<&'static str, Route>>>,
}

impl Routes {
    /// Answers `GET` on this path. `tell` runs on the control thread: let it read, not wait.
    pub fn look(&self, path: &'static str, tell: impl Fn(&Query) -> Reply + Send + Sync + 'static) {
        self.add(path, Route::Look(Arc::new(tell)));
    }

    /// Answers `POST` on this path, within `limit`. A client that leaves does not stop what it has begun.
    pub fn act(
        &self,
        path: &'static str,
        limit: Duration,
        act: impl Fn(Query) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
    ) {
        self.add(path, Route::Act(Arc::new(act), limit));
    }

    pub(super) fn find(&self, path: &str) -> Option<Route> {
        self.lock().get(path).cloned()
    }

    fn add(&self, path: &'static str, route: Route) {
        self.lock().insert(path, route);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Route>> {
        // A map of functions is never left half changed by a panic.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_names_and_values() {
        let query = Query::parse("master=my%20master&node=%5B::1%5D:6379&flag&bad=%zz%4");
        assert_eq!(query.get("master"), Some("my master"));
        assert_eq!(query.get("node"), Some("[::1]:6379"));
        assert_eq!((query.get("flag"), query.get("bad"), query.get("none")), (Some(""), Some("%zz%4"), None));
        assert_eq!(Query::parse(""), Query::default());
    }
}
