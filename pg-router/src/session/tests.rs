//! Conversations: what the client says (`C`), what goes to the server (`S`), what comes back. Kind: pure.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::upstream::{Endpoint, Rules};

use super::*;
use crate::wire::frame;

mod leases;
mod protocol;
mod statements;
mod transactions;

/// A client, the session, and a server that says what the test wants.
struct Talk {
    session: Session,
    server: Option<Server>,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    kept: Vec<u8>,
    /// What the server has said and the session has not used.
    half: Vec<u8>,
    outcome: Then,
}

fn server() -> Server {
    let addr = "127.0.0.1:5432".parse().unwrap();
    let endpoint = Arc::new(Endpoint::new(addr, 1, Arc::new(Rules::default()), Instant::now()));
    Server::new(Vars::collect([("TimeZone", "UTC")]), CancelTarget::new(endpoint, 7, Box::from(*b"abcd")))
}

fn talk() -> Talk {
    let vars = Vars::collect([("TimeZone", "UTC")]);
    let session = Session::new(1, Mode::Transaction, vars, Rc::default(), Rc::default());
    Talk {
        session,
        server: None,
        to_client: Vec::new(),
        to_server: Vec::new(),
        kept: Vec::new(),
        half: Vec::new(),
        outcome: Then::More,
    }
}

impl Talk {
    /// The client sends `bytes`; leases are given at once.
    fn client(&mut self, bytes: &[u8]) -> &mut Self {
        self.kept.extend_from_slice(bytes);
        loop {
            let input = std::mem::take(&mut self.kept);
            let (mut client, mut server_box) = (Outbox::default(), Outbox::default());
            let port = self.server.as_mut().map(|state| Port { state, outbox: &mut server_box });
            let step = self.session.on_client(&input, &mut client, port);
            self.to_client.extend_from_slice(client.rest());
            self.to_server.extend_from_slice(server_box.rest());
            self.to_server.extend_from_slice(&input[..step.forward]);
            self.kept = input[step.forward + step.skip..].to_vec();
            match step.then {
                Then::Again => {}
                Then::Attach => self.attach(server()),
                Then::Detach(_) => self.server = None,
                then => {
                    self.outcome = then;
                    return self;
                }
            }
        }
    }

    fn attach(&mut self, mut state: Server) {
        let mut outbox = Outbox::default();
        self.session.on_lease(Port { state: &mut state, outbox: &mut outbox });
        self.to_server.extend_from_slice(outbox.rest());
        self.server = Some(state);
    }

    /// The server sends `bytes`.
    fn server(&mut self, bytes: &[u8]) -> &mut Self {
        self.half.extend_from_slice(bytes);
        loop {
            let Some(state) = self.server.as_mut() else { return self };
            let rest = &mut self.half;
            let (mut client, mut outbox) = (Outbox::default(), Outbox::default());
            let step = self.session.on_server(rest, &mut client, Port { state, outbox: &mut outbox });
            self.to_client.extend_from_slice(client.rest());
            self.to_client.extend_from_slice(&rest[..step.forward]);
            rest.drain(..step.forward + step.skip);
            match step.then {
                Then::Again => {}
                Then::Detach(_) => self.server = None,
                Then::Lost => return self.lose(0),
                then => {
                    self.outcome = then;
                    return self;
                }
            }
        }
    }

    /// The server connection breaks, with `unsent` bytes that never left.
    fn lose(&mut self, unsent: usize) -> &mut Self {
        let mut state = self.server.take().expect("there is a server to lose");
        let mut client = Outbox::default();
        let (unread, then) = self.session.on_loss(Loss::Cut { unsent }, &mut client, &mut state);
        self.to_client.extend_from_slice(client.rest());
        self.kept.splice(..0, unread);
        self.to_server.clear();
        self.half.clear();
        self.outcome = then;
        if self.kept.is_empty() { self } else { self.client(b"") }
    }

    /// What the client has heard since the last call, a word for each message.
    fn heard(&mut self) -> String {
        let bytes = std::mem::take(&mut self.to_client);
        let (mut rest, mut words) = (bytes.as_slice(), Vec::new());
        while let Some((message, behind)) = frame::split(rest).unwrap() {
            words.push(word(&message));
            rest = behind;
        }
        assert!(rest.is_empty(), "half a message was sent");
        words.join(" ")
    }
}

fn word(message: &frame::Message<'_>) -> String {
    match message.tag {
        b'Z' => format!("ready:{}", char::from(message.body[0])),
        b'E' => format!("error:{}", crate::wire::error::fields(message.body).code().unwrap_or("?")),
        b'C' => String::from_utf8_lossy(&message.body[..message.body.len() - 1]).replace(' ', "-"),
        tag => char::from(tag).to_string(),
    }
}

fn query(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frontend::put_query(&mut out, sql);
    out
}

/// Parse, Bind, Execute, Sync.
fn extended(sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, b'P', |out| out.extend_from_slice(&[b"\0", sql.as_bytes(), b"\0\0\0"].concat()));
    frame::put(&mut out, b'B', |out| out.extend_from_slice(b"\0\0\0\0\0\0\0\0"));
    frame::put(&mut out, b'E', |out| out.extend_from_slice(b"\0\0\0\0\0"));
    out.extend_from_slice(&frontend::SYNC);
    out
}

fn done(tag: &str, status: Status) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::backend::put_command_complete(&mut out, tag);
    crate::wire::backend::put_ready_for_query(&mut out, status);
    out
}

fn fatal(code: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_error(&mut out, &Report::fatal(code, "terminating connection due to administrator command"));
    out
}

const INSERT: &str = "insert into t values (1)";

fn in_transaction() -> Talk {
    let mut talk = talk();
    talk.client(&query("begin")).server(&done("BEGIN", Status::Transaction));
    talk.heard();
    talk
}
