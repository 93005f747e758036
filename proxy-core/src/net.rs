//! Addresses: a stand-in with the shape of the real module, dropped when that one is merged. Kind: pure.
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// A host, by name or number, and a port.
    Tcp {
        /// Name or number.
        host: String,
        /// Port.
        port: u16,
    },
    /// A socket file.
    Unix(PathBuf),
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Addr {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                Self::Tcp { host: host.to_owned(), port: port.parse().unwrap_or_default() }
            }
            _ => Self::Unix(text.trim_start_matches("unix:").into()),
        })
    }
}
