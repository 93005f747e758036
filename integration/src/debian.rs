//! The Debian packages that the stack needs. Kind: driver.
use crate::Result;

/// What the PostgreSQL part needs.
pub const PG: &[&str] = &["postgresql-15", "postgresql-15-repmgr", "repmgr", "openssh-server"];

/// Installs what is missing of `packages` when root and apt allow it; otherwise the error is the one line to run.
pub fn ensure(_packages: &[&str]) -> Result<()> {
    unimplemented!()
}
