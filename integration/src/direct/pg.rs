//! PostgreSQL is asked whether it is in recovery. Kind: driver.

use super::{Seen, Watched, Witness};
use crate::{
    Result,
    pg::{Account, Cluster},
};
use tokio_postgres::{Client, NoTls, Statement};

/// How one server is asked.
pub struct Postgres {
    conninfo: String,
}

impl Watched for Cluster {
    type Witness = Postgres;

    fn witnesses(&self) -> Vec<(usize, Postgres)> {
        let witness = |node: &crate::pg::Node| Postgres { conninfo: node.conninfo(Account::REPMGR) };
        self.nodes().iter().map(|node| (node.id(), witness(node))).collect()
    }
}

impl Witness for Postgres {
    type Connection = (Client, Statement);

    async fn open(&self) -> Result<Self::Connection> {
        let (client, connection) = tokio_postgres::connect(&self.conninfo, NoTls).await?;
        tokio::spawn(connection);
        let question = client.prepare("select pg_is_in_recovery()").await?;
        Ok((client, question))
    }

    async fn look((client, question): &mut Self::Connection) -> Result<Seen> {
        let row = client.query_one(&*question, &[]).await?;
        Ok(if row.get(0) { Seen::Standby } else { Seen::Primary })
    }
}
