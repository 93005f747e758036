//! Paths that say one thing and mean another. Kind: driver.

use crate::error::Result;

use super::super::raw::{Answer, Raw};
use super::super::report::Part;
use super::super::stage::{PAGE, SECRET, Stage};

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
enum To {
    /// The file that may be read.
    Page,
    /// A refusal with this status.
    Status(u16),
    /// The application, which sees the path as it was sent.
    Application,
    /// Anything but a file.
    NoFile,
}

use To::{Application, NoFile, Page, Status};

const PATHS: &[(&str, To)] = &[
    ("/static/page.txt", Page),
    ("/static/%70age.txt", Page),
    ("/static//page.txt", Page),
    ("/static/sub/../page.txt", Page),
    ("/static/page.txt?../../secret.txt", Page),
    ("/media/page.txt", Page),
    ("/media/pub/page.txt", Page),
    // What is denied, in each of its spellings.
    ("/media/cachedfiles/a.txt", Status(404)),
    ("/media/cachedfiles", Status(404)),
    ("/media/cachedfiles/", Status(404)),
    ("/media/invoices/a.txt", Status(404)),
    ("/media/%63achedfiles/a.txt", Status(404)),
    ("/media/%63%61%63%68%65%64files/a.txt", Status(404)),
    ("/%6dedia/cachedfiles/a.txt", Status(404)),
    ("/media//cachedfiles/a.txt", Status(404)),
    ("//media/cachedfiles/a.txt", Status(404)),
    ("/media/./cachedfiles/a.txt", Status(404)),
    ("/media/%2e/cachedfiles/a.txt", Status(404)),
    ("/media/pub/../cachedfiles/a.txt", Status(404)),
    ("/media/pub/%2e%2e/cachedfiles/a.txt", Status(404)),
    ("/media/pub/.%2E/cachedfiles/a.txt", Status(404)),
    ("/x/../media/cachedfiles/a.txt", Status(404)),
    ("/static/../media/cachedfiles/a.txt", Status(404)),
    ("/media/cachedfiles;x/a.txt", Status(404)),
    ("/media/pub/..;/cachedfiles/a.txt", Status(404)),
    ("/media/CachedFiles/a.txt", Status(404)),
    ("/media/%2563achedfiles/a.txt", Status(404)),
    ("http://localhost/media/cachedfiles/a.txt", Status(404)),
    ("http://localhost/media/%63achedfiles/a.txt", Status(404)),
    // Separators that are none for us, and may be for others.
    ("/media%2fcachedfiles/a.txt", Status(400)),
    ("/media/%2fcachedfiles/a.txt", Status(400)),
    ("/media/cachedfiles%2Fa.txt", Status(400)),
    ("/media%5ccachedfiles/a.txt", Status(400)),
    ("/media\\cachedfiles\\a.txt", Status(400)),
    ("/static/..%2fsecret.txt", Status(400)),
    ("/static/%2e%2e%2fsecret.txt", Status(400)),
    ("/static/..%5csecret.txt", Status(400)),
    ("/static/..\\secret.txt", Status(400)),
    // Bytes that no path has.
    ("/media/page.txt%00", Status(400)),
    ("/media/page.txt%00.png", Status(400)),
    ("/static/%0a", Status(400)),
    ("/static/%0d%0aSet-Cookie:%20a=b", Status(400)),
    ("/static/%7f", Status(400)),
    ("/media/%c0%ae%c0%ae/secret.txt", Status(400)),
    ("/media/%c0%afcachedfiles/a.txt", Status(400)),
    ("/media/%e0%80%af", Status(400)),
    ("/media/%ff", Status(400)),
    ("/media/%u0063achedfiles/a.txt", Status(400)),
    ("/media/%zz", Status(400)),
    ("/media/%6", Status(400)),
    ("/media/%", Status(400)),
    ("/media/\u{e4}", Status(400)),
    ("/static/page.txt#x", Status(400)),
    ("static/page.txt", Status(400)),
    ("*", Status(400)),
    // Out of the folder, and into what is hidden in it.
    ("/static/../secret.txt", NoFile),
    ("/static/%2e%2e/secret.txt", NoFile),
    ("/static/../../../../../../etc/passwd", NoFile),
    ("/../../etc/passwd", NoFile),
    ("/static/.hidden", Status(404)),
    ("/static/%2ehidden", Status(404)),
    ("/static/.git/config", Status(404)),
    ("/static/sub/../.git/config", Status(404)),
    ("/static/link.txt", Status(404)),
    ("/media/link.txt", Status(404)),
    ("/media/etc/passwd", Status(404)),
    // What is no file.
    ("/static/", NoFile),
    ("/static/sub/", NoFile),
    ("/static/page.txt/", Status(404)),
    ("/static/page.txt/x", Status(404)),
    ("/static/PAGE.TXT", Status(404)),
    ("/static/page.txt%20", Status(404)),
    ("/static/page.txt.", Status(404)),
    ("/static", NoFile),
    ("/staticpage.txt", Application),
    ("/", Application),
    ("/a/%C3%A4/b", Application),
    ("//elsewhere.example/x", Application),
    ("/organizer/event/?async_id=1&x=%2f%00", Application),
];

pub(super) fn all(stage: &Stage, part: &mut Part) -> Result<()> {
    stage.application.seen()?;
    for (path, to) in PATHS {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = Raw::ask(stage.router.addr(), request.as_bytes());
        let seen: Vec<String> = stage.application.seen()?.into_iter().map(|seen| seen.target).collect();
        let verdict = answer.map_err(|e| e.to_string()).and_then(|answer| judge(path, *to, &answer, &seen));
        part.judge(&format!("path {path}"), verdict);
    }
    Ok(())
}

fn judge(path: &str, to: To, answer: &Answer, seen: &[String]) -> std::result::Result<(), String> {
    let body = String::from_utf8_lossy(&answer.body);
    if body.contains(SECRET) || body.contains("root:") {
        return Err("a secret was told".into());
    }
    if answer.head.to_ascii_lowercase().contains("\nset-cookie") {
        return Err(format!("a field was smuggled in: {}", answer.head));
    }
    let good = match to {
        Page => answer.status == 200 && body == PAGE && seen.is_empty(),
        Status(status) => answer.status == status && seen.is_empty(),
        Application => answer.status == 200 && seen == [path],
        NoFile => body != PAGE,
    };
    if good { Ok(()) } else { Err(format!("{} ({to:?} was meant), and {seen:?} was seen", answer.status)) }
}
