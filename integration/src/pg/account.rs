//! Who may log in. Kind: pure.

/// A role of the cluster, the password that it proves, and the database that it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The role.
    pub user: &'static str,
    /// Its password; none where `pg_hba.conf` trusts it.
    pub password: Option<&'static str>,
    /// Its database.
    pub database: &'static str,
}

impl Account {
    /// The workload of benches and drills (SCRAM-SHA-256).
    pub const BENCH: Self = Self { user: "bench", password: Some("benchpw"), database: "bench" };
    /// The ticket shop (SCRAM-SHA-256).
    pub const PRETIX: Self = Self { user: "pretix", password: Some("pretixpw"), database: "pretix" };
    /// A role whose secret PostgreSQL keeps as md5.
    pub const MD5: Self = Self { user: "md5user", password: Some("md5pw"), database: "bench" };
    /// repmgr's superuser, also the router's monitor.
    pub const REPMGR: Self = Self { user: "repmgr", password: Some("repmgrpw"), database: "repmgr" };
    /// A health check of the old school (trust).
    pub const HACHECK: Self = Self { user: "hacheck", password: None, database: "postgres" };
    /// The superuser made by `initdb`.
    pub const POSTGRES: Self = Self { user: "postgres", password: Some("postgrespw"), database: "postgres" };
}
