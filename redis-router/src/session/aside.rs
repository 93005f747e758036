//! What a client asks for that the shared connection can't do: the router answers it, or the client gets a connection
//! of its own. Kind: driver.

use std::sync::Arc;

use bytes::Bytes;
use proxy_core::session::Ending;

use super::driver::Session;
use super::own::identify;
use super::verbs::{self, Effect, Hello, Login};
use crate::command::{Command, Denial, Route, Verb};
use crate::server::{Greeting, Identity, Purpose};
use crate::wire::build::{put_error, put_request, put_simple};
use crate::wire::{Args, Framed, Resp, Violation, inline};

/// Redis' own texts (src/networking.c, src/acl.c).
const NO_AUTH: &str = "NOAUTH Authentication required.";
const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                             <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
                             RESP protocol version at the same time";
const WRONG_PASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";

impl Session {
    /// Serves one request that does not go to the shared connection.
    pub(super) async fn step_aside(&mut self, request: &[u8]) -> Result<(), Ending> {
        self.settled().await?;
        let respelled;
        let request = if request.starts_with(b"*") {
            request
        } else {
            match Self::respell(request) {
                Ok(Some(array)) => {
                    respelled = array;
                    &respelled[..]
                }
                Ok(None) => return Ok(()),
                Err(violation) => return Err(self.break_off(&violation).await),
            }
        };
        let (command, route) = identify(request);
        if let Some(text) = self.refusal(command, route) {
            self.tally.denied();
            self.answer(|out| put_error(out, text));
            return Ok(());
        }
        match route {
            Route::Local(verb) if !matches!(verb, Verb::Multi | Verb::ClientReply) => {
                self.answer_locally(verb, request, false).await
            }
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

    /// Answers what is the router's own to answer, or to do. Nothing may be owed. `quiet`: the client hears nothing.
    pub(super) async fn answer_locally(
        &mut self,
        verb: Verb,
        request: &[u8],
        quiet: bool,
    ) -> Result<(), Ending> {
        let mut out = Vec::new();
        let now = self.site.now() / 1000;
        let registry = self.profile.registry();
        let effect = verbs::answer(verb, Args::new(request), &mut self.profile, &registry, now, &mut out);
        let ended = match effect {
            Effect::Answered => Ok(()),
            Effect::Login(login) => self.log_in(login, &mut out).await,
            Effect::Hello(hello) => self.greet(&hello, &mut out).await,
            Effect::Select(db) => self.select(db, &mut out).await,
            Effect::Reset => {
                self.reset();
                put_simple(&mut out, "RESET");
                Ok(())
            }
            Effect::Quit => Err(Ending::Finished),
            Effect::Killed => Err(Ending::Terminated),
        };
        if !quiet {
            self.down.link().outbox.push(&out);
        }
        ended
    }

    /// `AUTH`: the router checks it, or a server does.
    async fn log_in(&mut self, login: Login, out: &mut Vec<u8>) -> Result<(), Ending> {
        let user = login.user.clone();
        match self.admit(Some(login), self.resp()).await? {
            Ok((purpose, _)) => {
                self.settle_in(purpose, user.as_deref());
                put_simple(out, "OK");
            }
            Err(answer) => out.extend_from_slice(&answer),
        }
        Ok(())
    }

    /// `HELLO`: perhaps another version, perhaps a login; the answer is the server's, with the client's own number.
    async fn greet(&mut self, hello: &Hello, out: &mut Vec<u8>) -> Result<(), Ending> {
        if hello.login.is_none() && self.stranger {
            put_error(out, HELLO_NO_AUTH);
            return Ok(());
        }
        let resp = hello.resp.unwrap_or(self.resp());
        match self.admit(hello.login.clone(), resp).await? {
            Ok((purpose, greeting)) => {
                match &hello.login {
                    Some(login) => self.settle_in(purpose, login.user.as_deref()),
                    None => self.go_on_as(purpose),
                }
                hello.settle(&mut self.profile);
                verbs::put_hello(out, resp, &greeting.hello, self.profile.id());
            }
            Err(answer) => out.extend_from_slice(&answer),
        }
        Ok(())
    }

    async fn select(&mut self, db: u32, out: &mut Vec<u8>) -> Result<(), Ending> {
        let purpose = Purpose { db, ..self.purpose() };
        match self.ask(&purpose, false).await? {
            Ok(_) => {
                self.go_on_as(purpose);
                self.profile.select(db);
                put_simple(out, "OK");
            }
            Err(answer) => out.extend_from_slice(&answer),
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.profile.reset();
        self.turn_away();
        self.go_on_as(self.terms.purpose(self.terms.identity.clone(), Resp::V2));
    }

    /// Whether this login is good, and as what its client goes on; else what it is to hear.
    async fn admit(
        &self,
        login: Option<Login>,
        resp: Resp,
    ) -> Result<Result<(Purpose, Greeting), Bytes>, Ending> {
        let mut purpose = Purpose { resp, ..self.purpose() };
        let proves = login.is_some() && !self.terms.checks_logins();
        if let Some(login) = login {
            if !self.terms.checks_logins() {
                purpose.identity = Arc::new(Identity::new(login.user, login.password));
            } else if !self.terms.lets_in(login.user.as_deref(), &login.password) {
                return Ok(Err(Bytes::from_static(WRONG_PASS)));
            }
        }
        Ok(self.ask(&purpose, proves).await?.map(|greeting| (purpose, greeting)))
    }

    /// Asks a server whether it takes this; a client that goes away need not hear it.
    async fn ask(&self, purpose: &Purpose, proves: bool) -> Result<Result<Greeting, Bytes>, Ending> {
        self.awaits(self.site.verify(purpose, proves)).await
    }

    /// The client has said who it is.
    fn settle_in(&mut self, purpose: Purpose, user: Option<&[u8]>) {
        self.stranger = false;
        self.limits = self.terms.limits;
        self.profile.log_in(user);
        self.go_on_as(purpose);
    }

    /// An inline request as the array that it stands for; none if it is empty.
    pub(super) fn respell(line: &[u8]) -> Result<Option<Vec<u8>>, Violation> {
        let args = inline::split(line)?;
        let args: Vec<_> = args.iter().map(Vec::as_slice).collect();
        let mut request = Vec::with_capacity(line.len() * 2);
        put_request(&mut request, &args);
        Ok((!args.is_empty()).then_some(request))
    }

    /// From now on its commands go to the connection of this purpose.
    fn go_on_as(&mut self, purpose: Purpose) {
        if purpose != self.mux.lane().purpose {
            self.profile.belong(&*purpose.identity);
            self.mux = self.site.share(self.site.lane(purpose));
        }
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
            self.go_on_as(purpose);
            self.profile.select(db);
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
