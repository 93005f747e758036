//! A real browser without a window, driven as W3C WebDriver says: Debian's Chromium behind its chromedriver.
//! Kind: driver.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Context, Error, Result, http,
    process::{Process, Spec, free_port},
    wait::{eventually, tail},
};

/// What it needs of Debian.
pub const PACKAGES: &[&str] = &["chromium", "chromium-driver"];

/// A page that waits for a failover is still loading.
const PATIENCE: Duration = Duration::from_secs(60);
const UP: Duration = Duration::from_secs(60);

/// What keeps it to itself: no window, no sandbox as root, nothing fetched beside the pages that it is told to.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1400",
];

/// How <https://www.w3.org/TR/webdriver2/#elements> names a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    addr: SocketAddr,
    session: String,
    _driver: Process,
    _profile: TempDir,
}

/// What a browser noticed.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Errors in its console.
    pub console: Vec<String>,
    /// What it loaded: address and status.
    pub loaded: Vec<(String, u16)>,
    /// What it could not load: address and reason.
    pub failed: Vec<(String, String)>,
}

impl Browser {
    /// Starts it with an empty profile.
    pub fn start() -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("stack-browser-").tempdir()?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = profile.path().join("driver.log");
        let spec = Spec::new("chromedriver").args([format!("--port={}", addr.port())]).log(&log);
        let driver = Process::spawn(&spec)?;
        eventually(UP, "chromedriver", || match http::get(addr, "/status") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}\n{}", tail(&log))),
        })?;
        let folder = format!("--user-data-dir={}", profile.path().join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([folder.as_str()]).collect();
        let wishes = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags, "binary": "/usr/bin/chromium"},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let answer = call(addr, "POST", "/session", &wishes)?;
        let session =
            answer["sessionId"].as_str().ok_or_else(|| Error::new(format!("no session: {answer}")))?;
        Ok(Self { addr, session: session.into(), _driver: driver, _profile: profile })
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({"url": url})).map(drop)
    }

    /// Where it is.
    pub fn url(&self) -> Result<String> {
        let url = call(self.addr, "GET", &self.path("/url"), &Value::Null)?;
        Ok(url.as_str().unwrap_or_default().into())
    }

    /// Waits until the address holds `part`.
    pub fn arrives(&self, part: &str) -> Result<()> {
        eventually(PATIENCE, &format!("an address with {part}"), || match self.url() {
            Ok(url) if url.contains(part) => Ok(()),
            Ok(url) => Err(format!("{url}: {}", self.text().unwrap_or_default())),
            Err(e) => Err(e.to_string()),
        })
    }

    /// Clicks on the first element that the selector finds, as soon as it can be clicked on.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.on(selector, "click", &json!({}))
    }

    /// Empties a field and types into it.
    pub fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.on(selector, "clear", &json!({}))?;
        self.on(selector, "value", &json!({"text": text}))
    }

    /// The words on the page.
    pub fn text(&self) -> Result<String> {
        let script = json!({"script": "return document.body.innerText", "args": []});
        Ok(self.post("/execute/sync", &script)?.as_str().unwrap_or_default().into())
    }

    /// Keeps what the page looks like.
    pub fn screenshot(&self, path: &Path) -> Result<()> {
        let picture = call(self.addr, "GET", &self.path("/screenshot"), &Value::Null)?;
        let bytes = BASE64_STANDARD.decode(picture.as_str().unwrap_or_default());
        let bytes = bytes.map_err(|e| Error::new(format!("a screenshot: {e}")))?;
        fs::write(path, bytes).context(path.display())
    }

    /// What it has noticed since it was asked the last time.
    pub fn news(&self) -> Result<News> {
        let log = |kind: &str| self.post("/se/log", &json!({"type": kind}));
        Ok(news(&log("browser")?, &log("performance")?))
    }

    /// Does something to an element; one that is hidden, covered or gone for the moment is waited for.
    fn on(&self, selector: &str, verb: &str, argument: &Value) -> Result<()> {
        eventually(PATIENCE, selector, || {
            let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
            let found = found.map_err(|e| e.to_string())?;
            let id = found[ELEMENT].as_str().unwrap_or_default();
            self.post(&format!("/element/{id}/{verb}"), argument).map(drop).map_err(|e| e.to_string())
        })
    }

    fn post(&self, command: &str, argument: &Value) -> Result<Value> {
        call(self.addr, "POST", &self.path(command), argument)
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}{command}", self.session)
    }
}

impl Drop for Browser {
    /// Chromium's processes are children of the driver, but not of its group: they go by its own word.
    fn drop(&mut self) {
        let _ = call(self.addr, "DELETE", &self.path(""), &Value::Null);
    }
}

fn call(addr: SocketAddr, method: &str, path: &str, argument: &Value) -> Result<Value> {
    let body = (!argument.is_null()).then(|| argument.to_string());
    let (_, text) = http::ask(addr, method, path, body.as_deref(), PATIENCE)?;
    let mut answer: Value =
        serde_json::from_str(&text).map_err(|e| Error::new(format!("{path}: {e}: {text}")))?;
    match answer["value"]["error"].as_str() {
        Some(error) => {
            Err(Error::new(format!("{error}: {}", answer["value"]["message"].as_str().unwrap_or_default())))
        }
        None => Ok(answer["value"].take()),
    }
}

/// From Chromium's two logs: the console's, and that of its DevTools
/// (<https://chromedevtools.github.io/devtools-protocol/tot/Network/>).
fn news(console: &Value, network: &Value) -> News {
    let mut news = News::default();
    let lines = |log: &Value| log.as_array().cloned().unwrap_or_default();
    for line in lines(console).iter().filter(|line| line["level"] == "SEVERE") {
        news.console.push(line["message"].as_str().unwrap_or_default().into());
    }
    let mut urls: HashMap<String, String> = HashMap::new();
    for line in lines(network) {
        let event: Value =
            serde_json::from_str(line["message"].as_str().unwrap_or_default()).unwrap_or_default();
        let (event, told) = (&event["message"]["method"], &event["message"]["params"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        match event.as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                urls.insert(text(&told["requestId"]), text(&told["request"]["url"]));
            }
            "Network.responseReceived" => {
                let status = told["response"]["status"].as_u64().unwrap_or_default();
                news.loaded.push((text(&told["response"]["url"]), u16::try_from(status).unwrap_or_default()));
            }
            // A page that is left cancels what it was loading.
            "Network.loadingFailed" if told["canceled"] != true => {
                let url = urls.get(&text(&told["requestId"])).cloned().unwrap_or_default();
                news.failed.push((url, text(&told["errorText"])));
            }
            _ => {}
        }
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(method: &str, params: &Value) -> Value {
        json!({"message": json!({"message": {"method": method, "params": params}}).to_string()})
    }

    #[test]
    fn logs_are_told_in_short() {
        let console = json!([{"level": "SEVERE", "message": "a"}, {"level": "INFO", "message": "b"}]);
        let network = json!([
            event("Network.requestWillBeSent", &json!({"requestId": "1", "request": {"url": "u"}})),
            event("Network.loadingFailed", &json!({"requestId": "1", "errorText": "why", "canceled": false})),
            event("Network.loadingFailed", &json!({"requestId": "2", "errorText": "left", "canceled": true})),
            event("Network.responseReceived", &json!({"response": {"url": "v", "status": 404}})),
        ]);
        let news = news(&console, &network);
        assert_eq!(news.console, ["a"]);
        assert_eq!(news.failed, [("u".to_string(), "why".to_string())]);
        assert_eq!(news.loaded, [("v".to_string(), 404)]);
    }
}
