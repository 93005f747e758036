//! Logging in to a server over a stream that is already connected, and encrypted if it should be. Kind: driver.
//!
//! There is no deadline in here: put one around the future; dropping it drops the stream.

use super::greeting::Greeting;
use super::handshake::{Handshake, Login, LoginError};
use super::random;
use super::talk::{Talk, TalkError};
use crate::auth::KeyCache;
use crate::wire::frame::Message;
use crate::wire::frontend;
use std::cell::RefCell;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message of a login: libpq takes 2000 bytes of authentication and 30000 of an error.
const MAX_MESSAGE: u32 = 30_000;

/// A connection that is ready for queries.
#[derive(Debug)]
pub struct LoggedIn<S> {
    /// The connection.
    pub stream: S,
    /// What the server said of itself.
    pub greeting: Greeting,
    /// What the server sent after it was ready: seldom anything, and the first that the next reader must see.
    pub rest: Vec<u8>,
}

/// Logs in. `keys` belongs to the worker: the next login with the same password takes no milliseconds.
pub async fn login<S>(
    stream: S,
    login: &Login<'_>,
    keys: &RefCell<KeyCache>,
) -> Result<LoggedIn<S>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    converse(stream, login, |handshake, message, out| handshake.step(message, &mut keys.borrow_mut(), out))
        .await
}

/// Logs in with keys that are nobody else's, so that the future may move between threads.
pub async fn login_alone<S>(
    stream: S,
    login: &Login<'_>,
    keys: &mut KeyCache,
) -> Result<LoggedIn<S>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    converse(stream, login, |handshake, message, out| handshake.step(message, keys, out)).await
}

async fn converse<S>(
    stream: S,
    login: &Login<'_>,
    mut step: impl FnMut(&mut Handshake<'_>, Message<'_>, &mut Vec<u8>) -> Result<bool, LoginError>,
) -> Result<LoggedIn<S>, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = Handshake::new(login, random().map_err(TalkError::Io)?);
    let (mut talk, mut out) = (Talk::new(stream, MAX_MESSAGE), Vec::new());
    login.put_startup(&mut out);
    loop {
        send(&mut talk, &mut out).await?;
        let message = talk.next().await?;
        if step(&mut handshake, message, &mut out)? {
            break;
        }
    }
    let (stream, rest) = talk.into_parts();
    Ok(LoggedIn { stream, greeting: handshake.into_greeting(), rest })
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    out: &mut Vec<u8>,
) -> Result<(), TalkError> {
    if !out.is_empty() {
        talk.send(out).await?;
        out.clear();
    }
    Ok(())
}

/// Asks for TLS: true if the handshake may begin now.
///
/// Reads exactly one byte, so that nothing sent in plain text can be taken for encrypted (CVE-2021-23222). An error text
/// at this point is not shown: it could be anyone's (CVE-2024-10977).
pub async fn request_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<bool> {
    let mut request = Vec::new();
    frontend::put_ssl_request(&mut request);
    stream.write_all(&request).await?;
    stream.flush().await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the server does not answer a request for TLS")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Credential, SCRAM_SHA_256, ScramServer, Verifier};
    use crate::wire::backend::{self, Status};
    use crate::wire::error::{Report, put_error};
    use std::sync::Arc;
    use tokio::io::{DuplexStream, duplex};

    fn anna(credential: &Credential) -> Login<'_> {
        Login {
            user: "anna",
            database: "shop",
            credential: Some(credential),
            parameters: &[],
            clear_text: false,
        }
    }

    /// A server's end of the pipe, past the first packet.
    async fn accept(mut stream: DuplexStream) -> Talk<DuplexStream> {
        let len = stream.read_u32().await.unwrap() as usize;
        stream.read_exact(&mut vec![0; len - 4]).await.unwrap();
        Talk::new(stream, 30_000)
    }

    async fn say(talk: &mut Talk<DuplexStream>, build: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        build(&mut out);
        talk.send(&out).await.unwrap();
    }

    fn greet(out: &mut Vec<u8>) {
        out.extend_from_slice(&backend::AUTHENTICATION_OK);
        backend::put_parameter_status(out, "in_hot_standby", "on");
        backend::put_backend_key_data(out, 7, &[1, 2, 3, 4]);
        backend::put_ready_for_query(out, Status::Idle);
        backend::put_parameter_status(out, "is_superuser", "off");
    }

    async fn scram_server(stream: DuplexStream) {
        let mut talk = accept(stream).await;
        let mut scram = ScramServer::new(Arc::new(Verifier::of_password(b"secret", [3; 16], 4096)), [4; 18]);
        say(&mut talk, |out| backend::put_authentication_sasl(out, &[SCRAM_SHA_256])).await;
        let Message { body, .. } = talk.next().await.unwrap();
        let first = scram.first(frontend::sasl_initial(body).unwrap().data.unwrap()).unwrap();
        say(&mut talk, |out| backend::put_authentication_sasl_continue(out, &first)).await;
        let last = scram.finish(talk.next().await.unwrap().body);
        say(&mut talk, |out| match last {
            Ok(last) => {
                backend::put_authentication_sasl_final(out, &last);
                greet(out);
            }
            Err(error) => put_error(out, &Report::fatal(error.sqlstate(), "no")),
        })
        .await;
    }

    async fn scram(password: &str) -> Result<LoggedIn<DuplexStream>, LoginError> {
        let ((ours, theirs), credential) = (duplex(64), Credential::Password(password.into()));
        let (login, keys) = (anna(&credential), RefCell::default());
        tokio::join!(super::login(ours, &login, &keys), scram_server(theirs)).0
    }

    #[tokio::test]
    async fn the_greeting_is_read_and_what_follows_is_kept() {
        let server = scram("secret").await.unwrap();
        assert_eq!(server.greeting.in_hot_standby(), Some(true));
        assert_eq!((server.greeting.key.pid, &server.greeting.key.secret[..]), (7, &[1, 2, 3, 4][..]));
        let mut rest = Vec::new();
        backend::put_parameter_status(&mut rest, "is_superuser", "off");
        let (mut stream, mut seen) = (server.stream, server.rest);
        stream.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, rest);
    }

    #[tokio::test]
    async fn a_refusal_keeps_the_words_of_the_server() {
        let error = scram("wrong").await.unwrap_err();
        let server = error.server().expect("the server refused");
        assert_eq!((server.code.as_str(), server.message.as_str()), ("28P01", "no"));
    }

    #[tokio::test]
    async fn a_server_that_leaves_is_noticed() {
        let ((ours, theirs), credential) = (duplex(64), Credential::Password("x".into()));
        let (login, keys) = (anna(&credential), RefCell::default());
        let (got, ()) = tokio::join!(super::login(ours, &login, &keys), async { drop(accept(theirs).await) });
        assert!(matches!(got, Err(LoginError::Talk(TalkError::Closed))), "{got:?}");
    }

    async fn tls(answer: &'static [u8]) -> (io::Result<bool>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(answer).await.unwrap();
        let got = request_tls(&mut ours).await;
        drop(theirs);
        let mut left = Vec::new();
        ours.read_to_end(&mut left).await.unwrap();
        (got, left)
    }

    #[tokio::test]
    async fn asking_for_tls_reads_one_byte() {
        assert!(tls(b"S").await.0.unwrap());
        assert!(!tls(b"N").await.0.unwrap());
        assert!(tls(b"E\0\0\0\x08text").await.0.is_err());
        assert_eq!(tls(b"Sinjected").await.1, b"injected");
    }
}
