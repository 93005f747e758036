//! The field names that somebody here asks for, each a small number, so that a head finds them at once. Kind: pure.

/// Slots of the hash table: a power of two, about three times the names.
const SLOTS: usize = 256;

/// No name that we know is longer.
const LONGEST: usize = 32;

/// By which length, first, middle and last letter are multiplied: found by trying, so that few names share a slot.
const FACTORS: [usize; 4] = [45, 70, 114, 47];

macro_rules! names {
    ($($variant:ident = $text:literal,)*) => {
        /// A field's name, if it is one that we know by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each is the name that it spells")]
        pub enum Name { $($variant,)* /** Any other name. */ Other }

        /// All names, in the order of their numbers.
        const ALL: &[Name] = &[$(Name::$variant),*];
        const TEXTS: &[&str] = &[$($text),*];
    };
}

names! {
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    Age = "age",
    Allow = "allow",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Etag = "etag",
    Expect = "expect",
    Expires = "expires",
    Forwarded = "forwarded",
    Host = "host",
    Http2Settings = "http2-settings",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    Origin = "origin",
    Proxy = "proxy",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    Range = "range",
    Referer = "referer",
    RemoteUser = "remote-user",
    RetryAfter = "retry-after",
    Server = "server",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XAccelBuffering = "x-accel-buffering",
    XAccelCharset = "x-accel-charset",
    XAccelExpires = "x-accel-expires",
    XAccelLimitRate = "x-accel-limit-rate",
    XAccelRedirect = "x-accel-redirect",
    XContentTypeOptions = "x-content-type-options",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedPrefix = "x-forwarded-prefix",
    XForwardedProto = "x-forwarded-proto",
    XForwardedServer = "x-forwarded-server",
    XForwardedSsl = "x-forwarded-ssl",
    XIdempotencyKey = "x-idempotency-key",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XRequestedWith = "x-requested-with",
}

/// How many names there are, `Other` not counted.
pub(super) const COUNT: usize = ALL.len();

/// A slot: a name and its text, which is empty where none is.
type Slot = (&'static [u8], Name);

/// Where each name lies: at its hash, or in the next free slot behind it.
const TABLE: [Slot; SLOTS] = table();

const fn table() -> [Slot; SLOTS] {
    let mut table: [Slot; SLOTS] = [(b"", Name::Other); SLOTS];
    let mut next = 0;
    while next < COUNT {
        let text = TEXTS[next].as_bytes();
        let mut slot = hash(text);
        while !table[slot].0.is_empty() {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = (text, ALL[next]);
        next += 1;
    }
    table
}

/// Of the length and three letters: enough to tell most names apart, without a look at each of their bytes.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let len = name.len();
    let (first, middle, last) = (name[0] as usize, name[len / 2] as usize, name[len - 1] as usize);
    (len.wrapping_mul(FACTORS[0]))
        .wrapping_add(first.wrapping_mul(FACTORS[1]))
        .wrapping_add(middle.wrapping_mul(FACTORS[2]))
        .wrapping_add(last.wrapping_mul(FACTORS[3]))
        % SLOTS
}

impl Name {
    /// The name that these bytes spell, which must be lower case already.
    #[inline]
    pub fn of(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Other;
        }
        let mut slot = hash(text);
        loop {
            let (found, name) = TABLE[slot];
            if found == text || found.is_empty() {
                return name;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The name that these bytes spell in whatever case.
    pub fn of_any_case(text: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..text.len()) else { return Self::Other };
        lower.copy_from_slice(text);
        lower.make_ascii_lowercase();
        Self::of(lower)
    }

    /// How it is spelled, lower case; nothing for [`Name::Other`].
    #[inline]
    pub fn text(self) -> &'static str {
        TEXTS.get(self as usize).copied().unwrap_or_default()
    }

    /// Whether it speaks of one connection only, so that a proxy never passes it on (RFC 9110 section 7.6.1, and what
    /// older clients send).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_by_its_text() {
        for name in ALL {
            assert_eq!(Name::of(name.text().as_bytes()), *name);
            assert_eq!(Name::of_any_case(name.text().to_uppercase().as_bytes()), *name);
        }
    }

    #[test]
    fn whatever_is_nearly_a_name_is_another() {
        for text in ["", "x", "hosts", "hos", "hast", "Host", "content-lengtH", "content_length", "cookie "] {
            assert_eq!(Name::of(text.as_bytes()), Name::Other, "{text}");
        }
        for text in ["", "x", "content_length", &"a".repeat(33)] {
            assert_eq!(Name::of_any_case(text.as_bytes()), Name::Other, "{text}");
        }
    }

    #[test]
    fn few_names_share_a_slot() {
        let moved = ALL.iter().filter(|name| TABLE[hash(name.text().as_bytes())].1 != **name).count();
        assert!(moved <= COUNT / 8, "{moved} of {COUNT}");
    }
}
