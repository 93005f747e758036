//! What is shown where the application can't: a page for people, an object for programs. Kind: pure.
//!
//! The pages are made once, when a configuration is loaded. They hold all they need: where the application is away, its
//! style sheets may be, too. Their policy lets them do nothing else.

use std::collections::HashMap;

use bytes::Bytes;

use crate::config::{ErrorStyle, Pages as Config};
use crate::wire::accept::prefers_json;

mod texts;

use texts::{Text, text_of};

const TEMPLATE: &str = include_str!("page.html");

/// Where the id of the request stands in a page.
const ID: &[u8] = b"{id}";

/// What is sent with each page: none of it is to be kept, framed, or to load anything.
const FIELDS: &str = "cache-control: no-store\r\n\
                      content-security-policy: default-src 'none'; style-src 'unsafe-inline'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n\
                      x-content-type-options: nosniff\r\n";

/// An answer of ours, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields, each as `name: value\r\n`.
    pub fields: Vec<u8>,
    /// The body.
    pub body: Bytes,
}

/// How a page looks to this client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// For people.
    #[default]
    Html,
    /// For programs.
    Json,
}

impl Style {
    /// The route's, or else what the client would rather have.
    pub fn of(route: ErrorStyle, accept: Option<&[u8]>) -> Self {
        match route {
            ErrorStyle::Html => Self::Html,
            ErrorStyle::Json => Self::Json,
            ErrorStyle::Auto if accept.is_some_and(prefers_json) => Self::Json,
            ErrorStyle::Auto => Self::Html,
        }
    }
}

/// All pages.
#[derive(Debug, Default)]
pub struct Pages {
    made: HashMap<u16, Page>,
    maintenance: Page,
}

#[derive(Debug, Clone, Default)]
struct Page {
    html: Bytes,
    json: Bytes,
}

/// The operator's own pages, by the names of their files.
pub type Own = HashMap<String, String>;

impl Pages {
    /// As configured; `message` is for the page of a closed shop.
    pub fn new(config: &Config, message: Option<&str>, own: &Own) -> Self {
        let page = |name: &str, status: u16, text: &Text<'_>| Page {
            html: own
                .get(&format!("{name}.html"))
                .map_or_else(|| html(config, status, text), |page| page.clone().into()),
            json: own
                .get(&format!("{name}.json"))
                .map_or_else(|| json(status, text), |page| page.clone().into()),
        };
        let made = texts::STATUSES
            .iter()
            .map(|status| (*status, page(&status.to_string(), *status, &text_of(*status))));
        let closed = texts::CLOSED;
        let closed = Text { lead: message.unwrap_or(closed.lead), ..closed };
        Self { made: made.collect(), maintenance: page("maintenance", 503, &closed) }
    }

    /// The page of a status; `retry_after` in seconds.
    pub fn page(&self, status: u16, style: Style, retry_after: Option<u32>, id: &str) -> Answer {
        match self.made.get(&status) {
            Some(page) => page.answer(status, style, retry_after, id),
            None => {
                let text = text_of(status);
                let page = Page { html: html(&Config::default(), status, &text), json: json(status, &text) };
                page.answer(status, style, retry_after, id)
            }
        }
    }

    /// The page of a closed shop.
    pub fn maintenance(&self, style: Style, retry_after: u32, id: &str) -> Answer {
        self.maintenance.answer(503, style, Some(retry_after), id)
    }
}

impl Page {
    fn answer(&self, status: u16, style: Style, retry_after: Option<u32>, id: &str) -> Answer {
        let (media, body) = match style {
            Style::Html => ("text/html; charset=utf-8", &self.html),
            Style::Json => ("application/json", &self.json),
        };
        let mut fields = format!("content-type: {media}\r\n{FIELDS}").into_bytes();
        if let Some(seconds) = retry_after {
            fields.extend_from_slice(format!("retry-after: {seconds}\r\n").as_bytes());
        }
        Answer { status, fields, body: with_id(body, id) }
    }
}

/// Ids are made of letters that mean nothing in HTML and JSON.
fn with_id(page: &Bytes, id: &str) -> Bytes {
    let Some(at) = memchr::memmem::find(page, ID) else { return page.clone() };
    let mut out = Vec::with_capacity(page.len() + id.len());
    out.extend_from_slice(&page[..at]);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&page[at + ID.len()..]);
    out.into()
}

fn html(config: &Config, status: u16, text: &Text<'_>) -> Bytes {
    let name = config.name.as_deref().map(escape).unwrap_or_default();
    let contact = config.contact.as_deref().map(contact).unwrap_or_default();
    let again = if text.again { "<p><a class=\"again\" href=\"\">Try again</a></p>" } else { "" };
    let parts = [
        ("{status}", status.to_string()),
        ("{title}", escape(text.title)),
        ("{lead}", escape(text.lead)),
        ("{again}", again.to_owned()),
        ("{name}", name),
        ("{contact}", contact),
    ];
    parts.iter().fold(TEMPLATE.to_owned(), |page, (mark, part)| page.replace(mark, part)).into()
}

/// A link where it looks like one.
fn contact(text: &str) -> String {
    let shown = escape(text);
    let link = match text {
        _ if text.starts_with("https://") || text.starts_with("http://") => Some(shown.clone()),
        _ if text.contains('@') && !text.contains(' ') => Some(format!("mailto:{shown}")),
        _ => None,
    };
    match link {
        Some(link) => format!("<a href=\"{link}\">{shown}</a>"),
        None => shown,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('{', "&#123;")
}

fn json(status: u16, text: &Text<'_>) -> Bytes {
    let object = serde_json::json!({ "status": status, "title": text.title, "detail": text.lead, "request_id": "{id}" });
    object.to_string().into()
}

#[cfg(test)]
mod tests;
