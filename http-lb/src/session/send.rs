//! Files on their way to the client. Kind: driver.

use bytes::Bytes;

use super::client::{AnswerHead, Client, Gone, Size};
use super::exchange::{Exchange, Served, Trouble};
use crate::edge::{Coding, Route, added_fields};
use crate::files::{self, MountId, Part, Wants};
use crate::metrics::By;
use crate::wire::Method;

/// Bytes of a file in memory that leave in one write with the head; what is behind them follows at the client's pace.
const FIRST: usize = 64 * 1024;

impl<C: Client> Exchange<'_, C> {
    /// Sends the file that the path names; `None`: there is none, and somebody else may know (`fallback`).
    pub(super) async fn find(
        &mut self,
        route: &Route,
        mount: MountId,
        fallback: bool,
    ) -> Result<Option<Served>, Trouble> {
        let Some(site) = &self.house.site else { return Err(Trouble::tell(404, "no_file")) };
        let beneath = self.asked.path.strip_prefix(&*route.prefix).unwrap_or_default();
        let answer = site.answer(mount, &Wants::of(self.asked.head), beneath, self.desk.seconds());
        if fallback && matches!(answer, files::Answer::Missing) {
            return Ok(None);
        }
        self.send(answer, route).await.map(Some)
    }

    /// Sends what was found.
    pub(super) async fn send(&mut self, answer: files::Answer, route: &Route) -> Result<Served, Trouble> {
        let sent = match answer {
            files::Answer::Memory { status, fields, length, body } => {
                self.send_memory(status, &fields, length, &body, route).await
            }
            files::Answer::Disk { status, fields, length, file, offset } => {
                let part = Part::Disk { file, offset, length };
                Box::pin(self.send_parts(status, &fields, length, vec![part], route)).await
            }
            files::Answer::Parts { fields, length, parts } => {
                Box::pin(self.send_parts(206, &fields, length, parts, route)).await
            }
            files::Answer::Missing | files::Answer::Denied => return Err(Trouble::tell(404, "no_file")),
            files::Answer::NotAllowed => return Err(Trouble::tell(405, "method")),
            files::Answer::Failed => return Err(Trouble::tell(500, "file")),
        };
        sent.map(|()| Served::Answered).map_err(Trouble::from)
    }

    /// The fields of a file's answer, with those of the route where it has any: most have none, and nothing is copied.
    fn with_added(&self, fields: &Bytes, route: &Route) -> Bytes {
        let hsts = self.house.edge.https.hsts.is_some() && self.asked.origin.https;
        if route.response_rules.is_empty() && !hsts {
            return fields.clone();
        }
        let mut all = fields.to_vec();
        added_fields(&mut all, &self.back(route, Coding::AsItIs));
        all.into()
    }

    fn tells(&mut self, status: u16) {
        (self.story.status, self.story.by, self.story.outcome) = (status, By::File, "file");
    }

    async fn send_memory(
        &mut self,
        status: u16,
        fields: &Bytes,
        length: Option<u64>,
        body: &Bytes,
        route: &Route,
    ) -> Result<(), Gone> {
        self.tells(status);
        let fields = self.with_added(fields, route);
        let size = match length {
            None => Size::Empty,
            told if self.asked.head.method() == Method::Head => Size::Told(told),
            Some(length) => Size::Length(length),
        };
        let head = AnswerHead { status, fields: &fields, dated: false, size };
        let whole = body.len() <= FIRST;
        self.client.begin(&head, &body[..body.len().min(FIRST)], whole)?;
        if !whole {
            Box::pin(self.client.write(body.slice(FIRST..))).await?;
            self.client.end(&[])?;
        }
        self.client.flush().await
    }

    async fn send_parts(
        &mut self,
        status: u16,
        fields: &Bytes,
        length: u64,
        parts: Vec<Part>,
        route: &Route,
    ) -> Result<(), Gone> {
        self.tells(status);
        let fields = self.with_added(fields, route);
        let head_only = self.asked.head.method() == Method::Head;
        let size = if head_only { Size::Told(Some(length)) } else { Size::Length(length) };
        let head = AnswerHead { status, fields: &fields, dated: false, size };
        self.client.begin(&head, &[], head_only)?;
        for part in parts.into_iter().filter(|_| !head_only) {
            match part {
                Part::Memory(bytes) => self.client.write(bytes).await?,
                Part::Disk { file, offset, length } => self.client.send_file(&file, offset, length).await?,
            }
        }
        if !head_only {
            self.client.end(&[])?;
        }
        self.client.flush().await
    }
}
