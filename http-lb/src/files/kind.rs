//! What a file is, told by its name: its media type, whether it is worth compressing, whether a browser might run it. Kind: pure.

/// Types that matter here and that tables get wrong or don't have; the rest is asked of `mime_guess`.
const OURS: [(&str, &str); 16] = [
    // RFC 9239: one type for scripts, with and without modules.
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("map", "application/json"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("svg", "image/svg+xml"),
    ("ico", "image/x-icon"),
    ("avif", "image/avif"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("wasm", "application/wasm"),
    // Sources, beside what is built from them; tables say MPEG transport stream.
    ("ts", "text/plain; charset=utf-8"),
    ("vue", "text/plain; charset=utf-8"),
    ("scss", "text/plain; charset=utf-8"),
    ("md", "text/plain; charset=utf-8"),
    ("pkpass", "application/vnd.apple.pkpass"),
];

/// What nobody knows better. With `nosniff`, browsers take it for nothing else.
const UNKNOWN: &str = "application/octet-stream";

/// What shrinks, beside `text/…` and what ends in `+json` or `+xml`.
const COMPRESSIBLE: [&str; 9] = [
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/xml",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

/// What a browser shows without ever running anything in it: pictures, sounds, films, fonts, and these.
const INERT: [&str; 3] = ["text/plain", "application/pdf", "application/vnd.apple.pkpass"];

/// What the file of this name is: the value of its `Content-Type`.
pub fn content_type(name: &[u8]) -> String {
    let Some(extension) = extension(name) else { return UNKNOWN.to_owned() };
    if let Some((_, known)) = OURS.iter().find(|(known, _)| *known == extension) {
        return (*known).to_owned();
    }
    let Some(guess) = mime_guess::from_ext(&extension).first_raw() else { return UNKNOWN.to_owned() };
    if guess.starts_with("text/") { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}

/// Whether it is worth compressing.
pub fn is_compressible(content_type: &str) -> bool {
    let kind = essence(content_type);
    let structured = kind.ends_with("+json") || kind.ends_with("+xml");
    kind.starts_with("text/") || structured || COMPRESSIBLE.contains(&kind)
}

/// Whether a browser that is led there might run it in the name of the site. Everything that is not known to be harmless.
pub(super) fn is_active(content_type: &str) -> bool {
    let kind = essence(content_type);
    let shown = ["image/", "audio/", "video/", "font/"].iter().any(|family| kind.starts_with(family));
    !(shown && kind != "image/svg+xml" || INERT.contains(&kind))
}

/// Without parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default()
}

/// What follows the last dot of the name, in lower case; a name may consist of anything.
fn extension(name: &[u8]) -> Option<String> {
    let dot = memchr::memrchr(b'.', name)?;
    let extension = std::str::from_utf8(&name[dot + 1..]).ok()?;
    let plain = extension.len() <= 16 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| extension.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str, compressible: bool, active: bool) {
        let found = content_type(name.as_bytes());
        assert_eq!(found, expected, "{name}");
        assert_eq!((is_compressible(&found), is_active(&found)), (compressible, active), "{name}: {found}");
    }

    #[test]
    fn texts_say_their_charset() {
        check("app.css", "text/css; charset=utf-8", true, true);
        check("app.13be3dfaa81d.JS", "text/javascript; charset=utf-8", true, true);
        check("page.html", "text/html; charset=utf-8", true, true);
        check("notes.txt", "text/plain; charset=utf-8", true, false);
        check("store.ts", "text/plain; charset=utf-8", true, false);
    }

    #[test]
    fn pictures_and_fonts_are_harmless_but_for_svg() {
        check("logo.png", "image/png", false, false);
        check("photo.jpeg", "image/jpeg", false, false);
        check("icons.woff2", "font/woff2", false, false);
        check("icons.ttf", "font/ttf", true, false);
        check("icons.eot", "application/vnd.ms-fontobject", true, true);
        check("logo.svg", "image/svg+xml", true, true);
        check("favicon.ico", "image/x-icon", true, false);
        check("ticket.pdf", "application/pdf", false, false);
    }

    #[test]
    fn what_is_not_known_is_neither_shown_nor_compressed() {
        check("LICENSE", UNKNOWN, false, true);
        check("x.thisisnothingatallknown", UNKNOWN, false, true);
        check("x.a b", UNKNOWN, false, true);
        check("archive.tar.gz", "application/gzip", false, true);
        check("x.", UNKNOWN, false, true);
    }
}
