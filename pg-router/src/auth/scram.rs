//! The server's side of SCRAM-SHA-256: a client proves that it knows a password. Kind: pure.
//!
//! ```text
//!   First ──first(client-first)──▶ Final ──finish(client-final)──▶ Done      any error ──▶ Done
//! ```
//! RFC 5802, section 5, and PostgreSQL's reading of it (src/backend/libpq/auth-scram.c): the user name inside is
//! ignored, the one of the first packet counts. Nothing but the final verdict depends on whether the user exists.

use super::AuthError::{self, Failed, Protocol, Unsupported};
use super::verifier::{Key, Verifier, hmac, key, sha256};
use super::{attribute, is_nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// The longest nonce that we take from a client; libpq's has 24 characters.
const MAX_NONCE: usize = 256;

/// One exchange.
#[derive(Debug)]
pub struct ScramServer {
    verifier: Arc<Verifier>,
    state: State,
}

#[derive(Debug)]
enum State {
    First { nonce: String },
    Final { channel: String, nonce: String, transcript: String },
    Done,
}

impl ScramServer {
    /// Against what is known of the user, or [`Verifier::mock`] where there is none; `nonce` is fresh and random.
    pub fn new(verifier: Arc<Verifier>, nonce: [u8; 18]) -> Self {
        Self { verifier, state: State::First { nonce: BASE64.encode(nonce) } }
    }

    /// Takes the client's first message, gives ours.
    pub fn first(&mut self, message: &[u8]) -> Result<Vec<u8>, AuthError> {
        let State::First { nonce } = std::mem::replace(&mut self.state, State::Done) else {
            return Err(Protocol("the first message came twice"));
        };
        let client = ClientFirst::read(text(message)?)?;
        let nonce = format!("{}{nonce}", client.nonce);
        let salt = BASE64.encode(&self.verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", self.verifier.iterations);
        let (channel, transcript) = (BASE64.encode(client.gs2_header), format!("{},{answer}", client.bare));
        self.state = State::Final { channel, nonce, transcript };
        Ok(answer.into_bytes())
    }

    /// Takes the client's proof; gives ours if it holds.
    pub fn finish(&mut self, message: &[u8]) -> Result<Vec<u8>, AuthError> {
        let State::Final { channel, nonce, transcript } = std::mem::replace(&mut self.state, State::Done)
        else {
            return Err(Protocol("the final message came out of turn"));
        };
        let client = ClientFinal::read(text(message)?)?;
        if client.channel != channel {
            return Err(Protocol("the channel binding does not match"));
        }
        if client.nonce != nonce {
            return Err(Protocol("the nonce does not match"));
        }
        let transcript = format!("{transcript},{}", client.without_proof);
        self.verdict(client.proof, transcript.as_bytes())
    }

    /// RFC 5802, section 3: `ClientKey = ClientProof XOR ClientSignature`, and `H(ClientKey)` must be the stored key.
    fn verdict(&self, proof: Key, transcript: &[u8]) -> Result<Vec<u8>, AuthError> {
        let signature = hmac(&self.verifier.stored, &[transcript]);
        let matches = sha256(&xor(proof, signature)).ct_eq(&self.verifier.stored);
        let answer = BASE64.encode(hmac(&self.verifier.server, &[transcript]));
        match bool::from(matches & Choice::from(u8::from(self.verifier.genuine))) {
            true => Ok(format!("v={answer}").into_bytes()),
            false => Err(Failed),
        }
    }
}

pub(super) fn xor(mut left: Key, right: Key) -> Key {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

fn text(message: &[u8]) -> Result<&str, AuthError> {
    std::str::from_utf8(message).map_err(|_| Protocol("it is not UTF-8"))
}

/// `n,,n=user,r=nonce`, taken apart.
struct ClientFirst<'a> {
    gs2_header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn read(message: &'a str) -> Result<Self, AuthError> {
        let bare = after_gs2_header(message)?;
        let (_, after_name) = match attribute(bare, 'n') {
            Some(found) => found,
            None if bare.starts_with("m=") => {
                return Err(Unsupported("client requires an unsupported SCRAM extension"));
            }
            None => return Err(Protocol("there is no user name attribute")),
        };
        let (nonce, _extensions) = attribute(after_name, 'r').ok_or(Protocol("there is no nonce"))?;
        if !is_nonce(nonce, MAX_NONCE) {
            return Err(Protocol("its nonce is not one"));
        }
        Ok(Self { gs2_header: &message[..message.len() - bare.len()], bare, nonce })
    }
}

/// `n` means that the client does no channel binding, `y` that it would but thinks that we do not: right on both
/// accounts, since we never offer `-PLUS`. `p=…` wants it.
fn after_gs2_header(message: &str) -> Result<&str, AuthError> {
    match message.split(',').next() {
        Some("n" | "y") => {}
        Some(flag) if flag.starts_with("p=") => {
            return Err(Unsupported("client requires SCRAM channel binding, but it is not supported"));
        }
        _ => return Err(Protocol("its channel binding flag is unknown")),
    }
    match message.get(1..3) {
        Some(",,") => Ok(&message[3..]),
        Some(",a") => Err(Unsupported("client uses authorization identity, but it is not supported")),
        _ => Err(Protocol("its header is incomplete")),
    }
}

/// `c=biws,r=nonce,p=proof`, taken apart.
struct ClientFinal<'a> {
    channel: &'a str,
    nonce: &'a str,
    without_proof: &'a str,
    proof: Key,
}

impl<'a> ClientFinal<'a> {
    fn read(message: &'a str) -> Result<Self, AuthError> {
        let (channel, rest) =
            attribute(message, 'c').ok_or(Protocol("there is no channel binding attribute"))?;
        let (nonce, _) = attribute(rest, 'r').ok_or(Protocol("there is no nonce"))?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Protocol("there is no proof"))?;
        let proof = key(proof).ok_or(Protocol("its proof is not one"))?;
        Ok(Self { channel, nonce, without_proof, proof })
    }
}

/// Fuzz entry: two messages, split at the first line feed, to a server that knows nobody.
pub fn fuzz_scram_server(data: &[u8]) {
    let mut server = ScramServer::new(Arc::new(Verifier::mock("nobody", &[7; 32])), [9; 18]);
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let _ = server.first(parts.next().unwrap_or_default());
    assert!(server.finish(parts.next().unwrap_or_default()).is_err(), "nobody was let in");
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use proptest::prelude::*;

    const NONCE: [u8; 18] = [5; 18];

    fn verifier() -> Arc<Verifier> {
        Arc::new(Verifier::of_password(b"secret", [3; 16], 4096))
    }

    fn talk(verifier: Arc<Verifier>, password: &[u8], binding: ChannelBinding) -> Result<(), AuthError> {
        let mut client = ScramSha256::new(password, binding);
        let mut server = ScramServer::new(verifier, NONCE);
        client.update(&server.first(client.message())?).unwrap();
        client.finish(&server.finish(client.message())?).unwrap();
        Ok(())
    }

    #[test]
    fn the_client_of_postgres_protocol_gets_in() {
        assert_eq!(talk(verifier(), b"secret", ChannelBinding::unsupported()), Ok(()));
        assert_eq!(talk(verifier(), b"secret", ChannelBinding::unrequested()), Ok(()));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_fail_alike() {
        assert_eq!(talk(verifier(), b"Secret", ChannelBinding::unsupported()), Err(Failed));
        let mock = Arc::new(Verifier::mock("eve", &[1; 32]));
        assert_eq!(talk(mock, b"secret", ChannelBinding::unsupported()), Err(Failed));
    }

    /// The example of RFC 7677, section 3, whose server nonce is not ours: checked at the keys.
    #[test]
    fn the_example_of_rfc_7677_holds() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let server = ScramServer::new(Arc::new(Verifier::of_password(b"pencil", salt, 4096)), NONCE);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let transcript = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let proof = key("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let answer = server.verdict(proof, transcript.as_bytes()).unwrap();
        assert_eq!(answer, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    fn check(message: &str, want: Result<(), &str>) {
        let got = ScramServer::new(verifier(), NONCE).first(message.as_bytes()).map(|_| ());
        assert_eq!(got.map_err(|e| e.to_string()), want.map_err(str::to_owned), "{message}");
    }

    #[test]
    fn first_messages_are_read_as_postgresql_reads_them() {
        check("n,,n=,r=abc", Ok(()));
        check("y,,n=anna,r=abc", Ok(()));
        check("n,,n=,r=abc,x=extension", Ok(()));
        check(
            "p=tls-server-end-point,,n=,r=abc",
            Err("client requires SCRAM channel binding, but it is not supported"),
        );
        check("n,a=bob,n=,r=abc", Err("client uses authorization identity, but it is not supported"));
        check("n,,m=x,n=,r=abc", Err("client requires an unsupported SCRAM extension"));
        check("x,,n=,r=abc", Err("malformed SCRAM message: its channel binding flag is unknown"));
        check("n,", Err("malformed SCRAM message: its header is incomplete"));
        check("n,,n=", Err("malformed SCRAM message: there is no nonce"));
        check("n,,n=,r=", Err("malformed SCRAM message: its nonce is not one"));
        check("n,,n=,r=a b", Err("malformed SCRAM message: its nonce is not one"));
        check(&format!("n,,n=,r={}", "a".repeat(257)), Err("malformed SCRAM message: its nonce is not one"));
    }

    fn finish(message: &str) -> AuthError {
        let mut server = ScramServer::new(verifier(), NONCE);
        server.first(b"n,,n=,r=abc").unwrap();
        server.finish(message.as_bytes()).unwrap_err()
    }

    #[test]
    fn final_messages_must_fit_the_first() {
        let nonce = format!("abc{}", BASE64.encode(NONCE));
        let proof = BASE64.encode([0; 32]);
        assert_eq!(finish(&format!("c=biws,r={nonce},p={proof}")), Failed);
        assert_eq!(
            finish(&format!("c=eSws,r={nonce},p={proof}")),
            Protocol("the channel binding does not match")
        );
        assert_eq!(finish(&format!("c=biws,r=abc,p={proof}")), Protocol("the nonce does not match"));
        assert_eq!(finish(&format!("c=biws,r={nonce}")), Protocol("there is no proof"));
        assert_eq!(finish(&format!("c=biws,r={nonce},p=AAAA")), Protocol("its proof is not one"));
    }

    #[test]
    fn messages_out_of_turn_are_refused() {
        let mut server = ScramServer::new(verifier(), NONCE);
        assert!(server.finish(b"c=biws,r=abc,p=x").is_err());
        assert!(server.first(b"n,,n=,r=abc").is_err(), "an error is final");
    }

    #[test]
    fn the_corpus_holds() {
        let corpus =
            ["", "n,,n=,r=a", "n,,n=,r=a\nc=biws,r=aBQUFBQUFBQUFBQUFBQUFBQUF,p=AA==", "y,é", "p=,,\n"];
        corpus.into_iter().for_each(|text| fuzz_scram_server(text.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_messages_are_survived(data in proptest::collection::vec(any::<u8>(), 0..80), text in "[nyp],[a-z=,\n]{0,40}") {
            fuzz_scram_server(&data);
            fuzz_scram_server(text.as_bytes());
        }
    }
}
