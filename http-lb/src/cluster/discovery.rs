//! What names stand for: asked again and again, as replicas come and go. Kind: driver.
//!
//! A name is asked for again when its answer has expired, but within the configured interval: Docker's name server gives
//! `tasks.NAME` a lifetime of ten minutes and changes it within a second. We keep no cache, nor does the resolver.

use std::time::Duration;

use futures_util::future::{join_all, pending};
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::xfer::Protocol;
use hickory_resolver::{ResolveError, TokioResolver};
use proxy_core::error::{Error, Result};
use proxy_core::net::Addr;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::roster::Record;
use crate::config::{Resolution, Target};

/// However short its lifetime, a name is not asked for more often.
const FLOOR: Duration = Duration::from_secs(1);

/// More records than any service has replicas.
const MAX_RECORDS: usize = 1024;

/// Asks the name service.
#[derive(Debug)]
pub(super) struct Names {
    resolver: TokioResolver,
    settings: Resolution,
}

/// What a name stands for, and until when.
type Answer = (Vec<Record>, Instant);

impl Names {
    /// By the configured name servers, or those of the machine.
    ///
    /// # Errors
    /// `Config`: the machine's own configuration can't be read.
    pub(super) fn new(settings: Resolution) -> Result<Self> {
        let mut builder = if settings.servers.is_empty() {
            let unreadable = |error| Error::config(format!("reading /etc/resolv.conf: {error}"));
            TokioResolver::builder_tokio().map_err(unreadable)?
        } else {
            let mut config = ResolverConfig::new();
            for server in &settings.servers {
                config.add_name_server(NameServerConfig::new(*server, Protocol::Udp));
                config.add_name_server(NameServerConfig::new(*server, Protocol::Tcp));
            }
            TokioResolver::builder_with_config(config, TokioConnectionProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = settings.timeout;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self { resolver: builder.build(), settings })
    }

    /// Follows these names for ever. What they stand for goes to `heard`; `None` is a question that failed.
    pub(super) async fn follow(&self, names: &[Target], heard: impl Fn(&Target, Option<Vec<Record>>)) {
        join_all(names.iter().map(|name| self.follow_one(name, &heard))).await;
        pending().await
    }

    async fn follow_one(&self, name: &Target, heard: &impl Fn(&Target, Option<Vec<Record>>)) {
        let mut failing = false;
        loop {
            let asked = timeout(self.settings.timeout, self.ask(name)).await;
            let wait = match asked.unwrap_or_else(|_| Err(ResolveError::from("no answer in time"))) {
                Ok((records, until)) if !records.is_empty() => {
                    if std::mem::take(&mut failing) {
                        info!(%name, "name is answered for again");
                    }
                    heard(name, Some(records));
                    until.saturating_duration_since(Instant::now())
                }
                answer => {
                    if !std::mem::replace(&mut failing, true) {
                        let error =
                            answer.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
                        warn!(%name, error, "name is not answered for: its last answer stays");
                    }
                    heard(name, None);
                    Duration::ZERO
                }
            };
            sleep(wait.max(FLOOR).min(self.settings.interval)).await;
        }
    }

    async fn ask(&self, name: &Target) -> std::result::Result<Answer, ResolveError> {
        match name {
            Target::Dns { host, port } => self.addresses(host, *port).await,
            Target::Srv(service) => self.services(service).await,
            // It is no name that is asked for.
            Target::One(addr) => {
                let record = Record { addr: addr.clone(), priority: 0, weight: 1 };
                Ok((vec![record], Instant::now() + self.settings.interval))
            }
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> std::result::Result<Answer, ResolveError> {
        let found = self.resolver.lookup_ip(host).await?;
        let record = |ip: std::net::IpAddr| {
            let addr = Addr::from(std::net::SocketAddr::new(ip, port));
            Record { addr, priority: 0, weight: 1 }
        };
        Ok((found.iter().take(MAX_RECORDS).map(record).collect(), found.valid_until().into()))
    }

    /// Hosts that the records name are asked for too, so that each of their addresses is a replica.
    async fn services(&self, service: &str) -> std::result::Result<Answer, ResolveError> {
        let found = self.resolver.srv_lookup(service).await?;
        let until: Instant = found.as_lookup().valid_until().into();
        // A target of "." says that the service is decidedly not available (RFC 2782).
        let targets = found.iter().filter(|srv| !srv.target().is_root()).take(MAX_RECORDS);
        let asked = targets.map(|srv| self.service(srv));
        let answers: Vec<_> = join_all(asked).await.into_iter().filter_map(std::result::Result::ok).collect();
        let until = answers.iter().map(|(_, until)| *until).fold(until, Instant::min);
        Ok((answers.into_iter().flat_map(|(records, _)| records).take(MAX_RECORDS).collect(), until))
    }

    async fn service(&self, srv: &SRV) -> std::result::Result<Answer, ResolveError> {
        let (mut records, until) = self.addresses(&srv.target().to_ascii(), srv.port()).await?;
        for record in &mut records {
            (record.priority, record.weight) = (srv.priority(), srv.weight());
        }
        Ok((records, until))
    }
}

#[cfg(test)]
mod tests;
