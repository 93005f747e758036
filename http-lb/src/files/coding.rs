//! The content codings that files are kept in. Kind: pure.

use std::cmp::Reverse;

use crate::wire::accept::weighted;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, by how small they usually get.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What a file compressed with it is called, behind the name of the original.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        match self {
            Self::Brotli => 0,
            Self::Zstd => 1,
            Self::Gzip => 2,
        }
    }
}

/// What a client thinks of each coding: its q-value in thousandths; 0 is a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Qualities {
    codings: [u16; Coding::ALL.len()],
    identity: u16,
}

/// Chooses among variants, whose sizes are given: the one that the client likes best, of equals the smallest; `None` is the
/// file as it is (RFC 9110 section 12.5.3). A client that refuses all, even that, gets it as it is: better than nothing.
pub(super) fn choose(
    accept_encoding: Option<&[u8]>,
    sizes: [Option<u64>; Coding::ALL.len()],
) -> Option<Coding> {
    let qualities = Qualities::read(accept_encoding?);
    let offered = Coding::ALL.into_iter().filter_map(|coding| Some((coding, sizes[coding.index()]?)));
    let liked = offered.filter(|(coding, _)| {
        let quality = qualities.codings[coding.index()];
        quality > 0 && quality >= qualities.identity
    });
    liked
        .max_by_key(|(coding, size)| (qualities.codings[coding.index()], Reverse(*size)))
        .map(|(coding, _)| coding)
}

impl Qualities {
    /// Reads the list once. What is not understood is passed over.
    fn read(list: &[u8]) -> Self {
        let (mut codings, mut identity, mut any) = ([None; Coding::ALL.len()], None, None);
        for (name, quality) in weighted(list) {
            match Coding::ALL.into_iter().find(|coding| coding.is_called(name)) {
                Some(coding) => codings[coding.index()] = Some(quality),
                None if name == b"*" => any = Some(quality),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(quality),
                None => {}
            }
        }
        // Unless it is named, the file as it is will do, but everything that is named is liked better.
        Self { codings: codings.map(|quality| quality.or(any).unwrap_or(0)), identity: identity.unwrap_or(0) }
    }
}

impl Coding {
    /// `x-gzip` is gzip (section 8.4.1.3).
    fn is_called(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.token().as_bytes())
            || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Gzip, Zstd};
    use super::*;

    /// Of variants whose sizes are 80 (br), 90 (zstd) and 100 (gzip).
    #[track_caller]
    fn check(accept: &str, expected: Option<Coding>) {
        assert_eq!(choose(Some(accept.as_bytes()), [Some(80), Some(90), Some(100)]), expected, "{accept}");
    }

    #[test]
    fn of_equals_the_smallest_is_chosen() {
        check("gzip, deflate, br, zstd", Some(Brotli));
        check("gzip, deflate", Some(Gzip));
        check("zstd,gzip", Some(Zstd));
        check("*", Some(Brotli));
        check("GZip", Some(Gzip));
        check("x-gzip", Some(Gzip));
    }

    #[test]
    fn q_values_decide() {
        check("br;q=0.5, gzip;q=0.8", Some(Gzip));
        check("br;q=0.001, gzip;q=0.000", Some(Brotli));
        check("br ; q=1.000 , gzip", Some(Brotli));
        check("*;q=0.1, gzip;q=0.2", Some(Gzip));
        check("br;q=0, *", Some(Zstd));
    }

    #[test]
    fn what_is_refused_is_not_sent() {
        check("br;q=0", None);
        check("*;q=0", None);
        check("identity", None);
        check("", None);
        check("deflate, compress", None);
        check("identity;q=1, gzip;q=0.5", None);
        check("identity;q=0.5, gzip;q=0.5", Some(Gzip));
        check("identity;q=0", None);
    }

    #[test]
    fn what_is_not_understood_counts_as_refused() {
        for weight in ["q=2", "q=1.001", "q=0.1234", "q=", "q=-1", "q=.5", "q=0,5"] {
            check(&format!("gzip;{weight}"), None);
        }
    }

    #[test]
    fn what_is_not_offered_is_not_chosen() {
        assert_eq!(choose(Some(b"br, gzip"), [None, None, Some(1)]), Some(Gzip));
        assert_eq!(choose(Some(b"br, gzip"), [None; 3]), None);
        assert_eq!(choose(None, [Some(1); 3]), None);
    }
}
