//! Pretix's configuration, as text. Kind: pure.

use std::{net::SocketAddr, path::Path};

use crate::{pg, redis};

/// What one installation is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    /// Its folder for data.
    pub(super) data: &'a Path,
    /// Where browsers find it.
    pub(super) url: &'a str,
    /// PostgreSQL.
    pub(super) database: SocketAddr,
    /// Redis; none while there is no shop yet, only a database.
    pub(super) redis: Option<SocketAddr>,
}

/// `pretix.cfg` (<https://docs.pretix.eu/self-hosting/config/>). Server-side cursors outlive a transaction, and with it the
/// server connection that pg-router lent.
pub(super) fn config(site: &Site<'_>) -> String {
    let Site { data, url, database, redis } = site;
    let who = pg::Account::PRETIX;
    let (user, password, name) = (who.user, who.password.unwrap_or_default(), who.database);
    let (data, host, port) = (data.display(), database.ip(), database.port());
    let redis = redis.map(with_redis).unwrap_or_default();
    format!(
        "[pretix]
instance_name=the stack's shop
url={url}
currency=EUR
datadir={data}
trust_x_forwarded_for=on
trust_x_forwarded_proto=on
registration=off
[locale]
default=en
timezone=UTC
[database]
backend=postgresql
name={name}
user={user}
password={password}
host={host}
port={port}
disable_server_side_cursors=true
[mail]
from=shop@example.org
host=127.0.0.1
port=2525
[django]
secret=a-secret-of-a-stack-that-listens-on-loopback-alone
{redis}"
    )
}

/// Sessions and the cache in one database, Celery in two more.
fn with_redis(addr: SocketAddr) -> String {
    let url = |database| redis::Account::APP.url(addr, database);
    format!("[redis]\nlocation={}\nsessions=true\n[celery]\nbackend={}\nbroker={}\n", url(0), url(1), url(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_redis_there_is_no_celery_either() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 6432));
        let site = Site { data: Path::new("/d"), url: "http://127.0.0.1:8100", database: addr, redis: None };
        assert!(!config(&site).contains("celery"));
        let with = config(&Site { redis: Some(addr), ..site });
        assert!(with.ends_with("broker=redis://app:apppw@127.0.0.1:6432/2\n"), "{with}");
    }
}
