//! What a client asks for that the shared connection can't do: the router answers it, or the client gets a connection
//! of its own. Kind: driver.

use std::sync::Arc;

use proxy_core::session::Ending;

use super::driver::Session;
use super::own::identify;
use crate::command::{Command, Denial, Route, Verb};
use crate::server::{Identity, Purpose};
use crate::wire::build::{put_error, put_request, put_simple};
use crate::wire::{Args, Framed, Resp, Violation, inline};

const NO_AUTH: &str = "NOAUTH Authentication required.";

impl Session {
    /// Serves one request that does not go to the shared connection.
    pub(super) async fn step_aside(&mut self, request: &[u8]) -> Result<(), Ending> {
        self.settled().await?;
        let respelled;
        let request = if request.starts_with(b"*") {
            request
        } else {
            match self.respell(request) {
                Some(array) => {
                    respelled = array;
                    &respelled[..]
                }
                None => return Ok(()),
            }
        };
        let (command, route) = identify(request);
        if let Some(text) = self.refusal(command, route) {
            self.tally.denied();
            self.answer(|out| put_error(out, text));
            return Ok(());
        }
        match route {
            Route::Local(verb) if verb != Verb::Multi => self.answer_locally(verb, request, false).await,
            Route::Shared if self.heavy == 0 && !self.is_large(command, request) => {
                self.enter(request, command);
                Ok(())
            }
            _ => {
                self.heavy = self.heavy.saturating_sub(1);
                self.carry_pinned(request).await
            }
        }
    }

    /// Why this client may not do that, if so.
    pub(super) fn refusal(&self, command: &Command, route: Route) -> Option<&'static str> {
        let opens = matches!(route, Route::Local(Verb::Auth | Verb::Hello | Verb::Quit | Verb::Reset));
        if self.is_stranger() && !opens {
            return Some(NO_AUTH);
        }
        match route {
            Route::Denied(Denial::Command) => Some("NOPERM this command makes no sense through a router"),
            Route::Denied(Denial::SentinelChannel) => Some("NOPERM this channel belongs to the Sentinels"),
            _ => self.terms.refuses(command),
        }
    }

    pub(super) async fn answer_locally(
        &mut self,
        verb: Verb,
        request: &[u8],
        quiet: bool,
    ) -> Result<(), Ending> {
        let mut out = Vec::new();
        let args: Vec<_> = Args::new(request).collect();
        match verb {
            Verb::Auth => {
                let (user, password) = if args.len() > 2 {
                    (Some(args[1].to_vec()), args[2].to_vec())
                } else {
                    (None, args[1].to_vec())
                };
                let mut purpose = self.purpose();
                purpose.identity = Arc::new(Identity::new(user, password));
                match self.site.verify(&purpose).await {
                    Ok(_) => {
                        self.become_someone(purpose);
                        put_simple(&mut out, "OK")
                    }
                    Err(answer) => out.extend_from_slice(&answer),
                }
            }
            Verb::Hello => {
                let mut purpose = self.purpose();
                if let Some(v) = args.get(1) {
                    purpose.resp = if *v == b"3" { Resp::V3 } else { Resp::V2 }
                }
                if args.len() > 4 {
                    purpose.identity = Arc::new(Identity::new(Some(args[3].to_vec()), args[4].to_vec()));
                }
                match self.site.verify(&purpose).await {
                    Ok(greeting) => {
                        self.become_someone(purpose);
                        out.extend_from_slice(&greeting.hello)
                    }
                    Err(answer) => out.extend_from_slice(&answer),
                }
            }
            Verb::Select => {
                let mut purpose = self.purpose();
                purpose.db = String::from_utf8_lossy(args[1]).parse().unwrap_or(0);
                match self.site.verify(&purpose).await {
                    Ok(_) => {
                        self.become_someone(purpose);
                        put_simple(&mut out, "OK")
                    }
                    Err(answer) => out.extend_from_slice(&answer),
                }
            }
            Verb::Quit => {
                put_simple(&mut out, "OK");
                self.down.link().outbox.push(&out);
                return Err(Ending::Finished);
            }
            _ => put_simple(&mut out, "OK"),
        }
        if !quiet {
            self.down.link().outbox.push(&out);
        }
        Ok(())
    }

    /// An inline request as the array that it stands for; none if it is empty, or answered as what it is: no request.
    pub(super) fn respell(&self, line: &[u8]) -> Option<Vec<u8>> {
        let args = match inline::split(line) {
            Ok(args) => args,
            Err(violation) => {
                self.violated(&violation);
                self.down.close();
                return None;
            }
        };
        let args: Vec<_> = args.iter().map(Vec::as_slice).collect();
        let mut request = Vec::with_capacity(line.len() * 2);
        put_request(&mut request, &args);
        (!args.is_empty()).then_some(request)
    }

    /// Whoever goes on under this purpose.
    fn become_someone(&mut self, purpose: Purpose) {
        self.mux = self.site.mux(self.site.lane(purpose));
    }

    /// What the client's connections are for.
    pub(super) fn purpose(&self) -> Purpose {
        self.mux.lane().purpose.clone()
    }

    pub(super) fn db(&self) -> u32 {
        self.mux.lane().purpose.db
    }

    /// The client has selected another database on a connection of its own.
    pub(super) fn set_db(&mut self, db: u32) {
        if db != self.db() {
            let purpose = Purpose { db, ..self.purpose() };
            self.become_someone(purpose);
        }
    }

    pub(super) fn resp(&self) -> Resp {
        self.mux.lane().purpose.resp
    }

    /// Looks for the end of the client's next request.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> Result<Framed, Violation> {
        let limits = self.limits;
        self.framer.next(bytes, &limits)
    }

    pub(super) fn large(&self) -> usize {
        self.terms.large
    }

    fn is_large(&self, command: &Command, request: &[u8]) -> bool {
        request.len() > self.terms.large || crate::command::is_bulky(command, Args::new(request))
    }

    /// The client's bytes broke the protocol: it is told so.
    pub(super) fn violated(&self, violation: &Violation) {
        self.tally.violated();
        tracing::debug!(%violation, "a client broke the protocol");
        self.answer(|out| put_error(out, &format!("ERR {violation}")));
    }
}
