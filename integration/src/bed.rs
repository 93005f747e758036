//! What a test of the router stands on: one router in front of the shared cluster, clients that come and go, and what
//! they are told. Kind: driver.

use crate::{
    Context, Error, Result,
    pg::{Account, Shared, shared, site::BIN},
    process::Spec,
    router::{self, PgRouterOptions, Router},
    wait::eventually,
};
use std::{fs, future::Future, time::Duration};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What a loaded machine may take for anything that takes no time.
pub const SOON: Duration = Duration::from_secs(15);

/// A test that takes longer hangs.
const TEST: Duration = Duration::from_secs(100);

/// A router in front of the shared cluster, which its holder has alone.
pub struct Bed {
    /// The router. It goes before the cluster does.
    pub router: Router,
    /// The cluster.
    pub cluster: Shared,
}

impl Bed {
    /// One worker, transaction mode, a pool of 20.
    pub fn start() -> Result<Self> {
        Self::with(|_| {})
    }

    /// The same with other options.
    pub fn with(edit: impl FnOnce(&mut PgRouterOptions)) -> Result<Self> {
        let cluster = shared()?;
        let mut options = PgRouterOptions::new(&router::binary(router::PG)?);
        edit(&mut options);
        Ok(Self { router: Router::start(&*cluster, &options)?, cluster })
    }

    /// How the workload's user connects.
    pub fn conninfo(&self) -> String {
        self.router.conninfo(Account::BENCH)
    }

    /// A client of the workload's user.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.conninfo()).await
    }

    /// Runs psql through the router with `args`.
    pub fn psql(&self, args: &[&str]) -> Result<String> {
        psql(&self.conninfo(), args)
    }

    /// The cluster's own answer, past the router.
    pub fn direct(&self, sql: &str) -> Result<String> {
        self.cluster.primary()?.sql_as(Account::BENCH, sql)
    }

    /// Waits until a metric of the router is at least `least`.
    pub fn metric_reaches(&self, name: &str, least: f64) -> Result<()> {
        eventually(SOON, name, || match self.router.metric(name) {
            Ok(value) if value >= least => Ok(()),
            other => Err(format!("{other:?}")),
        })
    }

    /// Waits until the server executes as many statements of ours like `pattern` as `count`.
    pub fn running(&self, pattern: &str, count: usize) -> Result<()> {
        let sql = format!(
            "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() \
             and query like '{pattern}'"
        );
        eventually(SOON, pattern, || match self.cluster.primary().and_then(|node| node.sql("bench", &sql)) {
            Ok(seen) if seen == count.to_string() => Ok(()),
            other => Err(format!("{other:?}")),
        })
    }

    /// A figure of the router's `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub fn memory(&self, figure: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.router.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Error::new(format!("no {figure} in {text}")))
    }
}

/// Runs the async part of a test; the sockets of its clients are served by another thread, so that it may block.
pub fn run<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async { tokio::time::timeout(TEST, test).await });
    runtime.shutdown_background();
    done.unwrap_or_else(|_| Err(Error::new(format!("no end after {} s", TEST.as_secs()))))
}

/// A client of tokio-postgres. Its connection is served until one side leaves.
pub async fn connect(conninfo: &str) -> Result<Client> {
    Ok(attempt(conninfo).await?)
}

/// The same where the error matters.
pub async fn attempt(conninfo: &str) -> std::result::Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(conninfo, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The first column of the first row.
pub async fn value(client: &Client, sql: &str) -> Result<String> {
    let messages = client.simple_query(sql).await.context(sql)?;
    let first = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(Into::into),
        _ => None,
    });
    first.ok_or_else(|| Error::new(format!("{sql}: no value")))
}

/// The SQLSTATE with which `sql` fails; an error if it doesn't, or the connection ended.
pub async fn failure(client: &Client, sql: &str) -> Result<String> {
    match client.simple_query(sql).await {
        Ok(_) => Err(Error::new(format!("{sql}: no error"))),
        Err(error) => code(&error).ok_or_else(|| Error::from(error).context(sql)),
    }
}

/// The SQLSTATE of an error, if a server or router sent it.
pub fn code(error: &tokio_postgres::Error) -> Option<String> {
    error.as_db_error().map(|error| error.code().code().to_owned())
}

/// Runs psql with `args`, unaligned and without its start-up file.
pub fn psql(conninfo: &str, args: &[&str]) -> Result<String> {
    let args = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", conninfo].into_iter().chain(args.iter().copied());
    let out = Spec::new(format!("{BIN}/psql")).args(args).env("LC_ALL", "C.UTF-8").output(TEST)?;
    Ok(out.trim_end().into())
}
