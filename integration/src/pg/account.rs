//! Who may log in to the cluster, and how. Kind: pure.

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

    /// All of them.
    pub const ALL: &[Self] =
        &[Self::BENCH, Self::PRETIX, Self::MD5, Self::REPMGR, Self::HACHECK, Self::POSTGRES];

    /// A libpq and tokio-postgres connection string for this account at `host` and `port`.
    pub fn conninfo(&self, host: impl std::fmt::Display, port: u16) -> String {
        let password = self.password.map(|p| format!(" password={p}")).unwrap_or_default();
        format!("host={host} port={port} user={} dbname={}{password}", self.user, self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_role_sends_no_password() {
        assert_eq!(Account::HACHECK.conninfo("h", 1), "host=h port=1 user=hacheck dbname=postgres");
    }

    #[test]
    fn others_prove_theirs() {
        assert!(Account::BENCH.conninfo("h", 1).ends_with(" password=benchpw"));
    }
}
