//! What the pages say. Kind: pure.

/// The words of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) title: &'a str,
    pub(super) lead: &'a str,
    /// Whether it may be different next time.
    pub(super) again: bool,
}

/// The shop is closed.
pub(super) const CLOSED: Text<'static> = Text {
    title: "We’ll be right back",
    lead: "We are working on the shop and will open it again in a few minutes.",
    again: true,
};

/// The statuses that have a page made.
pub(super) const STATUSES: [u16; 20] =
    [400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505];

/// The words for a status.
pub(super) const fn text_of(status: u16) -> Text<'static> {
    let (title, lead, again) = match status {
        400 => ("Bad request", "Your browser sent something that we could not understand.", false),
        401 => ("Please sign in", "This page is for people with a name and a password.", false),
        403 => ("No entry", "You may not see this page.", false),
        404 => {
            ("Page not found", "There is nothing at this address. It may have been mistyped or moved.", false)
        }
        405 => ("Not like this", "This address does not take that kind of request.", false),
        408 => ("Too slow", "Your request took too long to arrive.", true),
        411 => ("Length required", "Your request has to say how long it is.", false),
        413 => ("Too large", "What you sent is larger than we take.", false),
        414 => ("Address too long", "The address is longer than we can read.", false),
        415 => ("Unknown format", "We can’t read what you sent.", false),
        417 => ("Expectation failed", "Your request asks for something that we can’t promise.", false),
        421 => ("Wrong place", "This host does not live here.", false),
        429 => ("Too many requests", "You are faster than we are. Please wait a moment.", true),
        431 => (
            "Request too large",
            "Your browser sent more than we can read. Deleting its cookies for this site may help.",
            false,
        ),
        500 => ("Something went wrong", "That was our mistake, and we will look into it.", true),
        501 => ("Not supported", "We don’t know how to do that.", false),
        502 => {
            ("Something went wrong", "The shop did not answer properly. Please try again in a moment.", true)
        }
        503 => (
            "It’s busy here",
            "Very many people are here at the moment. Please try again in a moment. What is in your cart stays there.",
            true,
        ),
        504 => (
            "That took too long",
            "The shop did not answer in time. If you were just buying something, look into your mail before you try again.",
            true,
        ),
        505 => ("Unknown version", "Your browser speaks a version of HTTP that we don’t.", false),
        _ => ("Something went wrong", "The request could not be answered.", false),
    };
    Text { title, lead, again }
}
