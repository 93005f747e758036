//! What a server says of itself: when it lets us in, and whenever it changes. Kind: pure.

/// The most parameters that a greeting may bring; PostgreSQL 18 reports 15.
const MAX_PARAMETERS: usize = 256;

/// What proves the right to cancel our queries on a server.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ServerKey {
    /// The server's process.
    pub pid: i32,
    /// 4 to 256 bytes; empty where the server gave no key.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerKey({}, ***)", self.pid)
    }
}

/// What a server says of itself when it lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// What it reports, in its order: `server_version`, `TimeZone` and so on.
    pub params: Vec<(String, String)>,
    /// For cancelling.
    pub key: ServerKey,
}

impl Greeting {
    /// What it reports under this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a standby; PostgreSQL before 14 does not say.
    pub fn in_hot_standby(&self) -> Option<bool> {
        self.get("in_hot_standby").map(|value| value == "on")
    }

    /// Takes note of a `ParameterStatus`; false if there are too many.
    pub(super) fn note(&mut self, name: &str, value: &str) -> bool {
        let full = self.params.len() >= MAX_PARAMETERS;
        match self.params.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_owned(),
            None if full => return false,
            None => self.params.push((name.to_owned(), value.to_owned())),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_has_bounds() {
        let mut greeting = Greeting::default();
        assert!((0..MAX_PARAMETERS).all(|n| greeting.note(&n.to_string(), "x")));
        assert!(!greeting.note("one more", "x"));
        assert!(greeting.note("7", "changed"));
        assert_eq!((greeting.get("7"), greeting.in_hot_standby()), (Some("changed"), None));
    }

    fn check(value: &str, want: Option<bool>) {
        let mut greeting = Greeting::default();
        greeting.note("in_hot_standby", value);
        assert_eq!(greeting.in_hot_standby(), want, "{value}");
    }

    #[test]
    fn a_standby_says_so() {
        check("on", Some(true));
        check("off", Some(false));
    }

    #[test]
    fn a_secret_does_not_show() {
        let key = ServerKey { pid: 7, secret: vec![42; 4] };
        assert_eq!(format!("{key:?}"), "ServerKey(7, ***)");
    }
}
