//! What a request wants done (RFC 9110 section 9). Kind: pure.

/// A request's method. Names are case-sensitive: `get` is [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "each is the method that it spells")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Connect,
    /// Any other name; its text is the request's.
    Other,
}

impl Method {
    /// The method of this name.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether it asks for nothing but to read (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether to do it twice is to do it once, so that a request may be sent again whose answer was lost
    /// (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, method: Method, safe: bool, idempotent: bool) {
        let found = Method::of(name.as_bytes());
        assert_eq!((found, found.is_safe(), found.is_idempotent()), (method, safe, idempotent));
    }

    #[test]
    fn methods_are_told_apart() {
        check("GET", Method::Get, true, true);
        check("HEAD", Method::Head, true, true);
        check("OPTIONS", Method::Options, true, true);
        check("TRACE", Method::Trace, true, true);
        check("PUT", Method::Put, false, true);
        check("DELETE", Method::Delete, false, true);
        check("POST", Method::Post, false, false);
        check("PATCH", Method::Patch, false, false);
        check("CONNECT", Method::Connect, false, false);
    }

    #[test]
    fn an_unknown_method_is_assumed_to_change_something() {
        check("get", Method::Other, false, false);
        check("PROPFIND", Method::Other, false, false);
        check("", Method::Other, false, false);
    }
}
