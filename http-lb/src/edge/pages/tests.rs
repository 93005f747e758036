//! Pages as clients get them. Kind: pure.

use super::*;

fn pages() -> Pages {
    let config = Config {
        name: Some("Tickets & <more>".into()),
        contact: Some("help@example.org".into()),
        ..Config::default()
    };
    Pages::new(&config, Some("Back at noon."), &Own::new())
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn people_get_a_page_that_needs_nothing_else() {
    let answer = pages().page(503, Style::Html, Some(5), "abc12345");
    let page = text(&answer);
    assert_eq!(answer.status, 503);
    for part in ["<h1>It’s busy here</h1>", "abc12345", "Try again", "Tickets &amp; &lt;more&gt;"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(page.contains("<a href=\"mailto:help@example.org\">"));
    assert!(!page.contains("src=") && !page.contains("<script") && !page.contains('\u{0}'));
    assert!(page.len() < 4096, "{}", page.len());
    let fields = String::from_utf8(answer.fields).unwrap();
    assert!(fields.contains("retry-after: 5\r\n") && fields.contains("cache-control: no-store\r\n"));
}

#[test]
fn no_mark_is_left_in_any_page() {
    let pages = pages();
    for status in (400..=599).step_by(1) {
        let page = text(&pages.page(status, Style::Html, None, "abc12345"));
        for mark in ["{id}", "{title}", "{lead}", "{again}", "{name}", "{contact}", "{status}"] {
            assert!(!page.contains(mark), "{mark} in the page of {status}");
        }
    }
}

#[test]
fn programs_get_an_object() {
    let answer = pages().page(429, Style::Json, None, "abc12345");
    let object: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(object["status"], 429);
    assert_eq!(object["request_id"], "abc12345");
    assert!(answer.fields.starts_with(b"content-type: application/json\r\n"));
}

#[test]
fn the_style_is_the_routes_or_else_the_clients() {
    let of = |route, accept: &str| Style::of(route, Some(accept.as_bytes()));
    assert_eq!(of(ErrorStyle::Auto, "application/json"), Style::Json);
    assert_eq!(of(ErrorStyle::Auto, "text/html,application/json;q=0.5"), Style::Html);
    assert_eq!(of(ErrorStyle::Auto, "*/*"), Style::Html);
    assert_eq!(of(ErrorStyle::Json, "text/html"), Style::Json);
    assert_eq!(of(ErrorStyle::Html, "application/json"), Style::Html);
    assert_eq!(Style::of(ErrorStyle::Auto, None), Style::Html);
}

#[test]
fn a_closed_shop_says_what_the_operator_wrote() {
    let answer = pages().maintenance(Style::Html, 300, "abc12345");
    assert!(text(&answer).contains("Back at noon."));
    assert_eq!(answer.status, 503);
}

#[test]
fn ones_own_pages_go_before_ours() {
    let own = Own::from([("503.html".to_owned(), "<p>mine {id}".to_owned())]);
    let pages = Pages::new(&Config::default(), None, &own);
    assert_eq!(text(&pages.page(503, Style::Html, None, "abc12345")), "<p>mine abc12345");
    assert!(text(&pages.page(503, Style::Json, None, "abc12345")).contains("\"status\":503"));
}
