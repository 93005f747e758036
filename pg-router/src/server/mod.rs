//! PostgreSQL servers: logging in to them, and asking them short questions. Kind: driver.
//!
//! What to answer to which message is decided in [`handshake`], which is pure; [`mod@login`] and [`control`] move the bytes.
//! All are generic over the stream, so that a test can be the server over a pipe in memory.

pub mod control;
pub mod greeting;
pub mod handshake;
pub mod login;
mod talk;

pub use control::{Control, ControlError};
pub use greeting::{Greeting, ServerKey};
pub use handshake::{Handshake, Login, LoginError};
pub use login::{LoggedIn, login, login_alone, request_tls};
pub use talk::TalkError;

/// Random bytes of the operating system, good for nonces, salts and secrets.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}
