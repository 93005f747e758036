//! Who may log in to Redis, and how. Kind: pure.

/// A user of Redis and the password that it proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: &'static str,
    /// Its password.
    pub password: &'static str,
}

impl Account {
    /// Who a client is that sends a password alone (`requirepass`); also the replicas and the Sentinels.
    pub const DEFAULT: Self = Self { user: "default", password: "redispw" };
    /// The workload of benches and drills, an ACL user; also who the router is to Redis.
    pub const APP: Self = Self { user: "app", password: "apppw" };

    /// Who a client of a Sentinel is, where the Sentinels have a password.
    pub const SENTINEL: Self = Self { user: "default", password: "sentinelpw" };

    /// `AUTH` for it.
    pub fn auth(&self) -> [&'static str; 3] {
        ["AUTH", self.user, self.password]
    }

    /// A URL for client libraries.
    pub fn url(&self, addr: std::net::SocketAddr, database: u32) -> String {
        format!("redis://{}:{}@{addr}/{database}", self.user, self.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_everything_that_a_library_needs() {
        let url = Account::APP.url(([127, 0, 0, 1], 6379).into(), 2);
        assert_eq!(url, "redis://app:apppw@127.0.0.1:6379/2");
    }
}
