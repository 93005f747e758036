//! As whom a connection is logged in. Connections are shared by clients of one identity only. Kind: pure.

use proxy_core::config::Secret;

/// A user and its password, as a client gave them or as the configuration does. No password: nobody in particular,
/// which Redis makes its default user if that has none either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    user: Option<Vec<u8>>,
    password: Option<Password>,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Password(Vec<u8>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Identity {
    /// Whoever knows `password`; without a user it is Redis' default user (`AUTH password`).
    pub fn new(user: Option<Vec<u8>>, password: Vec<u8>) -> Self {
        Self { user: user.filter(|user| user != b"default"), password: Some(Password(password)) }
    }

    /// The configured one.
    pub fn configured(user: Option<&str>, password: Option<&Secret>) -> Self {
        let user = user.map(|user| user.as_bytes().to_vec());
        password.map_or_else(Self::default, |password| Self::new(user, password.expose().as_bytes().to_vec()))
    }

    /// What `AUTH` and `HELLO … AUTH` want: the user, if it is not the default one, and the password.
    pub(super) fn credentials(&self) -> Option<(Option<&[u8]>, &[u8])> {
        let password = self.password.as_ref()?;
        Some((self.user.as_deref(), &password.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_user_is_one_however_it_is_called() {
        let named = Identity::new(Some(b"default".to_vec()), b"pw".to_vec());
        assert_eq!(named, Identity::new(None, b"pw".to_vec()));
        assert_ne!(named, Identity::new(None, b"other".to_vec()));
        assert_ne!(named, Identity::default());
    }

    #[test]
    fn a_password_is_never_shown() {
        let text = format!("{:?}", Identity::new(Some(b"app".to_vec()), b"geheim".to_vec()));
        assert!(!text.contains("geheim") && text.contains("***"), "{text}");
    }
}
