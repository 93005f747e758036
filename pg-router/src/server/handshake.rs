//! What to say to a server until it lets us in. Kind: pure.
//!
//! ```text
//!   Asked ──password, MD5──▶ Answered ──AuthenticationOk──▶ Admitted ──ReadyForQuery──▶ done
//!     │ ──SASL──▶ Proving ──SASLFinal holds──▶ Answered        ▲ ParameterStatus, BackendKeyData
//!     └──AuthenticationOk (trust, certificate, peer)───────────┘
//! ```
//! In `Proving` an `AuthenticationOk` is refused: a server that skips its own proof is not the one that knows the
//! password. <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use super::greeting::{Greeting, ServerKey};
use super::talk::TalkError;
use crate::auth::{AuthError, Credential, KeyCache, SCRAM_SHA_256, ScramClient};
use crate::wire::backend::{self, Authentication, ServerError};
use crate::wire::cursor::Malformed;
use crate::wire::frame::{self, Message};
use crate::wire::frontend;
use postgres_protocol::authentication::md5_hash;

/// As whom to log in, where, and how.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The role.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// What to show when asked for it; none for servers that trust us or know our certificate.
    pub credential: Option<&'a Credential>,
    /// More parameters of the first packet, such as `application_name`. `user` and `database` are not taken from here.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Whether a password may be sent in clear: only where nobody listens, over TLS or a unix socket.
    pub clear_text: bool,
}

impl Login<'_> {
    /// Appends the first packet.
    pub fn put_startup(&self, out: &mut Vec<u8>) {
        let more = self.parameters.iter().copied();
        let more = more.filter(|(name, _)| !matches!(*name, "" | "user" | "database"));
        frontend::put_startup(
            out,
            [("user", self.user), ("database", self.database)].into_iter().chain(more),
        );
    }
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server refused, in its own words.
    #[error("the server refused the login: {0}")]
    Server(ServerError),
    /// The connection failed.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// A message is not what its type says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// SCRAM failed on our side: the server broke its rules, or could not prove itself.
    #[error("SCRAM with the server: {0}")]
    Auth(#[from] AuthError),
    /// The server wants a method that we do not have, by its code.
    #[error("the server wants an authentication method that is not supported ({0})")]
    Method(i32),
    /// The server wants a SASL mechanism that we do not have.
    #[error("the server does not offer SCRAM-SHA-256")]
    Mechanism,
    /// The server wants a password, and there is none, or only an MD5 hash.
    #[error("the server wants a password by {0}, and there is none for it")]
    NoPassword(&'static str),
    /// The server wants the password in clear where others may listen.
    #[error("the server wants the password in clear text over an unencrypted connection")]
    ClearText,
    /// A message that has no place here, by its type.
    #[error("unexpected message {:?} from the server during login", char::from(*.0))]
    Unexpected(u8),
    /// More parameters than anyone has.
    #[error("the server reports too many parameters")]
    TooMany,
}

impl LoginError {
    /// The server's own words, if it was the server who refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum State {
    Asked,
    Proving(ScramClient),
    Answered,
    Admitted,
}

/// One login, after its first packet was sent.
#[derive(Debug)]
pub struct Handshake<'a> {
    login: &'a Login<'a>,
    nonce: [u8; 18],
    state: State,
    greeting: Greeting,
}

impl<'a> Handshake<'a> {
    /// Begins one; `nonce` is fresh and random.
    pub fn new(login: &'a Login<'a>, nonce: [u8; 18]) -> Self {
        Self { login, nonce, state: State::Asked, greeting: Greeting::default() }
    }

    /// Takes one message, appends the answer to `out`; true when the server is ready for queries.
    pub fn step(
        &mut self,
        message: Message<'_>,
        cache: &mut KeyCache,
        out: &mut Vec<u8>,
    ) -> Result<bool, LoginError> {
        match (message.tag, &self.state) {
            (b'E', _) => return Err(LoginError::Server(ServerError::read(message.body))),
            (b'N', _) => {}
            (b'R', _) => self.authenticate(backend::authentication(message.body)?, cache, out)?,
            (b'S', State::Admitted) => self.note_parameter(message.body)?,
            (b'K', State::Admitted) => self.note_key(message.body)?,
            (b'Z', State::Admitted) => return Ok(true),
            (tag, _) => return Err(LoginError::Unexpected(tag)),
        }
        Ok(false)
    }

    /// What the server has said of itself.
    pub fn into_greeting(self) -> Greeting {
        self.greeting
    }

    fn note_parameter(&mut self, body: &[u8]) -> Result<(), LoginError> {
        let (name, value) = backend::parameter_status(body)?;
        if self.greeting.note(name, value) { Ok(()) } else { Err(LoginError::TooMany) }
    }

    fn note_key(&mut self, body: &[u8]) -> Result<(), LoginError> {
        let (pid, secret) = backend::backend_key_data(body)?;
        self.greeting.key = ServerKey { pid, secret: secret.to_vec() };
        Ok(())
    }

    fn authenticate(
        &mut self,
        request: Authentication<'_>,
        cache: &mut KeyCache,
        out: &mut Vec<u8>,
    ) -> Result<(), LoginError> {
        use {Authentication as A, State as S};
        self.state = match (request, std::mem::replace(&mut self.state, S::Admitted)) {
            (A::Ok, S::Asked | S::Answered) => S::Admitted,
            (A::ClearText, S::Asked) => self.clear_text(out)?,
            (A::Md5(salt), S::Asked) => self.md5(salt, out)?,
            (A::Sasl(mechanisms), S::Asked) => self.begin_scram(mechanisms, out)?,
            (A::SaslContinue(data), S::Proving(scram)) => self.prove(scram, data, cache, out)?,
            (A::SaslFinal(data), S::Proving(mut scram)) => scram.verify(data).map(|()| S::Answered)?,
            (A::Other(code), S::Asked) => return Err(LoginError::Method(code)),
            _ => return Err(LoginError::Unexpected(b'R')),
        };
        Ok(())
    }

    fn clear_text(&self, out: &mut Vec<u8>) -> Result<State, LoginError> {
        if !self.login.clear_text {
            return Err(LoginError::ClearText);
        }
        frontend::put_password(out, self.password("clear text")?.as_bytes());
        Ok(State::Answered)
    }

    fn md5(&self, salt: [u8; 4], out: &mut Vec<u8>) -> Result<State, LoginError> {
        let user = self.login.user.as_bytes();
        let hash = match self.login.credential {
            Some(Credential::Password(password)) => md5_hash(user, password.as_bytes(), salt),
            Some(Credential::Md5(hash)) => salted_md5(hash, salt),
            None => return Err(LoginError::NoPassword("MD5")),
        };
        frontend::put_password(out, hash.as_bytes());
        Ok(State::Answered)
    }

    fn begin_scram(&self, mechanisms: &[u8], out: &mut Vec<u8>) -> Result<State, LoginError> {
        if !backend::offers(mechanisms, SCRAM_SHA_256) {
            return Err(LoginError::Mechanism);
        }
        self.password(SCRAM_SHA_256)?;
        let scram = ScramClient::new(self.nonce);
        frontend::put_sasl_initial(out, SCRAM_SHA_256, &scram.first());
        Ok(State::Proving(scram))
    }

    fn prove(
        &self,
        mut scram: ScramClient,
        data: &[u8],
        cache: &mut KeyCache,
        out: &mut Vec<u8>,
    ) -> Result<State, LoginError> {
        let proof = scram.answer(data, self.password(SCRAM_SHA_256)?.as_bytes(), cache)?;
        frontend::put_sasl_response(out, &proof);
        Ok(State::Proving(scram))
    }

    fn password(&self, method: &'static str) -> Result<&'a str, LoginError> {
        match self.login.credential {
            Some(Credential::Password(password)) => Ok(password),
            _ => Err(LoginError::NoPassword(method)),
        }
    }
}

/// The answer to an MD5 request where only `md5(password + user)` is known: `"md5" + md5(that in hex + salt)`.
fn salted_md5(stored: &str, salt: [u8; 4]) -> String {
    use md5::{Digest, Md5};
    let hex = stored.strip_prefix("md5").unwrap_or(stored);
    let digest = Md5::new().chain_update(hex).chain_update(salt).finalize();
    digest.iter().fold(String::from("md5"), |text, byte| text + &format!("{byte:02x}"))
}

/// Fuzz entry: any bytes as a server's side of a login.
pub fn fuzz_handshake(data: &[u8]) {
    let password = Credential::Password("secret".into());
    let login =
        Login { user: "a", database: "b", credential: Some(&password), parameters: &[], clear_text: false };
    let (mut handshake, mut cache) = (Handshake::new(&login, [1; 18]), KeyCache::default());
    let (mut rest, mut out) = (data, Vec::new());
    while let Ok(Some((message, more))) = frame::split(rest) {
        if !matches!(handshake.step(message, &mut cache, &mut out), Ok(false)) {
            break;
        }
        rest = more;
    }
    assert!(!out.windows(6).any(|bytes| bytes == b"secret"), "the password went out in clear");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ScramServer, Verifier};
    use crate::wire::frame::split;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn password() -> Credential {
        Credential::Password("secret".into())
    }

    fn login(credential: Option<&Credential>) -> Login<'_> {
        Login { user: "anna", database: "shop", credential, parameters: &[], clear_text: false }
    }

    /// What is answered to these messages, and how it ends.
    fn play(login: &Login<'_>, script: &[u8]) -> (Vec<u8>, Result<bool, String>) {
        let (mut handshake, mut out) = (Handshake::new(login, [1; 18]), Vec::new());
        let (mut rest, mut last) = (script, Ok(false));
        while let (Some((message, more)), Ok(_)) = (split(rest).unwrap(), &last) {
            last = handshake.step(message, &mut KeyCache::default(), &mut out).map_err(|e| e.to_string());
            rest = more;
        }
        (out, last)
    }

    /// Appends one message of a script.
    type Part<'a> = &'a dyn Fn(&mut Vec<u8>);

    fn script(parts: &[Part<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| part(&mut bytes));
        bytes
    }

    fn ok(out: &mut Vec<u8>) {
        out.extend_from_slice(&backend::AUTHENTICATION_OK);
    }

    fn ready(out: &mut Vec<u8>) {
        backend::put_ready_for_query(out, backend::Status::Idle);
    }

    fn check(login: &Login<'_>, parts: &[Part<'_>], want: Result<bool, &str>) {
        assert_eq!(play(login, &script(parts)).1, want.map_err(str::to_owned));
    }

    #[test]
    fn a_server_that_trusts_us_lets_us_in() {
        check(&login(None), &[&ok, &ready], Ok(true));
        check(&login(None), &[&ok], Ok(false));
    }

    #[test]
    fn nothing_comes_before_the_admission() {
        check(&login(None), &[&ready], Err("unexpected message 'Z' from the server during login"));
        let parameter = |out: &mut Vec<u8>| backend::put_parameter_status(out, "a", "b");
        check(&login(None), &[&parameter], Err("unexpected message 'S' from the server during login"));
        check(&login(None), &[&ok, &ok], Err("unexpected message 'R' from the server during login"));
    }

    #[test]
    fn clear_text_is_sent_only_where_nobody_listens() {
        let (password, ask) = (password(), backend::put_authentication_clear_text);
        let text = "the server wants the password in clear text over an unencrypted connection";
        check(&login(Some(&password)), &[&ask], Err(text));
        let private = Login { clear_text: true, ..login(Some(&password)) };
        assert_eq!(
            play(&private, &script(&[&ask, &ok, &ready])),
            (b"p\0\0\0\x0bsecret\0".to_vec(), Ok(true))
        );
    }

    #[test]
    fn md5_is_answered_from_the_password_or_its_hash() {
        let ask = |out: &mut Vec<u8>| backend::put_authentication_md5(out, [1, 2, 3, 4]);
        let hash = Credential::Md5(postgres_protocol::password::md5(b"secret", "anna"));
        let (from_password, end) = play(&login(Some(&password())), &script(&[&ask, &ok, &ready]));
        assert_eq!((play(&login(Some(&hash)), &script(&[&ask])).0, end), (from_password.clone(), Ok(true)));
        let want = md5_hash(b"anna", b"secret", [1, 2, 3, 4]);
        assert_eq!(&from_password[5..from_password.len() - 1], want.as_bytes());
        check(&login(None), &[&ask], Err("the server wants a password by MD5, and there is none for it"));
    }

    #[test]
    fn scram_is_refused_without_its_means() {
        let offer = |list: &'static [&'static str]| {
            move |out: &mut Vec<u8>| backend::put_authentication_sasl(out, list)
        };
        let (password, hash) = (password(), Credential::Md5("md5".into()));
        let scram = offer(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        let none = "the server wants a password by SCRAM-SHA-256, and there is none for it";
        check(&login(Some(&password)), &[&scram], Ok(false));
        check(&login(Some(&hash)), &[&scram], Err(none));
        check(&login(None), &[&scram], Err(none));
        check(&login(Some(&password)), &[&offer(&["X"])], Err("the server does not offer SCRAM-SHA-256"));
    }

    #[test]
    fn a_server_that_skips_its_proof_is_refused() {
        let offer = |out: &mut Vec<u8>| backend::put_authentication_sasl(out, &[SCRAM_SHA_256]);
        let hello = |out: &mut Vec<u8>| {
            let mut server = ScramServer::new(Arc::new(Verifier::mock("anna", &[0; 32])), [2; 18]);
            let first = server.first(&ScramClient::new([1; 18]).first()).unwrap();
            backend::put_authentication_sasl_continue(out, &first);
        };
        let unexpected = Err("unexpected message 'R' from the server during login");
        check(&login(Some(&password())), &[&offer, &ok], unexpected);
        check(&login(Some(&password())), &[&offer, &hello, &ok], unexpected);
        let wrong = |out: &mut Vec<u8>| backend::put_authentication_sasl_final(out, b"v=AAAA");
        let text = "SCRAM with the server: malformed SCRAM message: its proof is not one";
        check(&login(Some(&password())), &[&offer, &hello, &wrong], Err(text));
    }

    #[test]
    fn kerberos_is_not_spoken() {
        let ask = |out: &mut Vec<u8>| out.extend_from_slice(b"R\0\0\0\x08\0\0\0\x07");
        check(
            &login(None),
            &[&ask],
            Err("the server wants an authentication method that is not supported (7)"),
        );
    }

    #[test]
    fn the_first_packet_names_us_once() {
        let parameters = [("user", "postgres"), ("application_name", "router"), ("", "lost")];
        let (login, mut out) = (Login { parameters: &parameters, ..login(None) }, Vec::new());
        login.put_startup(&mut out);
        assert_eq!(&out[8..], b"user\0anna\0database\0shop\0application_name\0router\0\0");
    }

    #[test]
    fn the_corpus_holds() {
        let talk = script(&[&ok, &ready]);
        let corpus: [&[u8]; 4] =
            [&talk, b"R\0\0\0\x05\0", b"R\0\0\0\x0c\0\0\0\x0bxxxx", b"E\0\0\0\x04K\0\0\0\x04"];
        corpus.into_iter().for_each(fuzz_handshake);
    }

    proptest! {
        #[test]
        fn any_server_is_survived(talk in proptest::collection::vec(("[RSKZENv]", proptest::collection::vec(0..14u8, 0..12)), 0..6)) {
            let mut bytes = Vec::new();
            for (tag, body) in &talk {
                frame::put(&mut bytes, tag.as_bytes()[0], |out| out.extend_from_slice(body));
            }
            fuzz_handshake(&bytes);
        }
    }
}
