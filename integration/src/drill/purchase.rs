//! Tickets are bought with a real browser through all three routers: one in peace, one while the PostgreSQL primary and
//! then the Redis master are killed. Kind: driver.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Cast, PRETIX, Run, Script};
use crate::browser::{self, Browser, News};
use crate::error::{Context, Result};
use crate::pretix::SHOP;
use crate::progress::say;
use crate::report::Figures;
use crate::shop::Shop;
use crate::{debian, front, place, router};

pub(super) const SCRIPT: Script = Script {
    name: "purchase",
    cast: &Cast {
        subjects: &[router::HTTP, front::NGINX],
        packages: &[debian::PG, debian::REDIS, debian::HTTP, front::PACKAGES, browser::PACKAGES],
        ..PRETIX
    },
    order: &ORDER,
    session_length: None,
    runs: 1,
    play,
    remark: "Two purchases in headless Chromium: shop, cart, questions, payment, confirmation, order. In the second one the \
             PostgreSQL primary is killed before the ticket goes into the cart, and the Redis master before the payment \
             is chosen. orders: what the database has in the end. console_errors: without those that Pretix shows by \
             itself. A screenshot of each step is under target/purchase/.",
};

const ORDER: [&str; 7] = [
    "purchases_completed",
    "static_failures",
    "console_errors",
    "orders",
    "static_files",
    "other_failures",
    "seconds",
];

/// What Pretix 2026.8.0 says in the console behind NGINX, with nothing wrong: nothing.
const KNOWN: &[&str] = &[];

/// What every step but the first ends with.
const CONTINUE: &str = ".checkout-button-row .btn-primary";

fn play(run: &Run) -> Result<Figures> {
    let dir = tempfile::Builder::new().prefix("stack-purchase-").tempdir()?;
    let pictures = place::target()?.join("purchase").join(run.subject);
    fs::create_dir_all(&pictures).context(pictures.display())?;
    let shop = Shop::open(run.subject, &run.router, dir.path())?;
    let begun = std::time::Instant::now();
    let mut completed = 0.0;
    let mut news = News::default();
    for hurt in [false, true] {
        let buyer = Buyer { browser: Browser::start()?, shop: &shop, pictures: &pictures, hurt };
        match buyer.buy() {
            Ok(()) => completed += 1.0,
            Err(e) => say(format_args!("not bought: {e}")),
        }
        buyer.keep("end")?;
        let seen = buyer.browser.news()?;
        news.console.extend(seen.console);
        news.loaded.extend(seen.loaded);
        news.failed.extend(seen.failed);
    }
    let orders = shop.pg.primary()?.sql("pretix", "select count(*) from pretixbase_order")?;
    let seconds = begun.elapsed().as_secs_f64().round();
    shop.close()?;
    let mut figures = figures(&news);
    figures.extend([
        ("purchases_completed".into(), completed),
        ("orders".into(), orders.trim().parse().unwrap_or(-1.0)),
        ("seconds".into(), seconds),
    ]);
    Ok(figures)
}

/// Somebody who wants a ticket.
struct Buyer<'a> {
    browser: Browser,
    shop: &'a Shop,
    pictures: &'a Path,
    /// Whether servers die meanwhile.
    hurt: bool,
}

impl Buyer<'_> {
    fn buy(&self) -> Result<()> {
        let (browser, paid) = (&self.browser, self.shop.pretix.seed().paid);
        browser.open(&format!("http://{}{SHOP}", self.shop.front.addr()))?;
        self.keep("1-shop")?;
        self.kill_primary()?;
        browser.fill(&format!("#item_{paid}"), "1")?;
        browser.click("#btn-add-to-cart")?;
        browser.click("form[action$='/checkout/start'] button")?;
        self.keep("2-cart")?;
        browser.arrives("/checkout/questions/")?;
        self.keep("3-questions")?;
        browser.fill("input[name=email]", "buyer@example.org")?;
        browser.click(CONTINUE)?;
        browser.arrives("/checkout/payment/")?;
        self.keep("4-payment")?;
        self.kill_master()?;
        browser.click(CONTINUE)?;
        browser.arrives("/checkout/confirm/")?;
        self.keep("5-confirm")?;
        browser.click(CONTINUE)?;
        browser.arrives("thanks=yes")?;
        self.keep("6-order")
    }

    fn kill_primary(&self) -> Result<()> {
        if !self.hurt {
            return Ok(());
        }
        let primary = self.shop.pg.primary()?;
        say(format_args!("kill -9 of n{}, the PostgreSQL primary", primary.id()));
        primary.kill_9()
    }

    fn kill_master(&self) -> Result<()> {
        if !self.hurt {
            return Ok(());
        }
        let master = self.shop.redis.master()?;
        say(format_args!("kill -9 of {}, the Redis master", master.name()));
        master.kill_9()
    }

    fn keep(&self, step: &str) -> Result<()> {
        let kind = if self.hurt { "hurt" } else { "peace" };
        let path: PathBuf = self.pictures.join(format!("{kind}-{step}.png"));
        say(format_args!("{kind}: {step}"));
        self.browser.screenshot(&path)
    }
}

/// What concerns the shop; the browser's own pages don't.
fn figures(news: &News) -> Figures {
    let ours = |url: &str| url.starts_with("http://127.0.0.1");
    let of_files = |url: &str| url.contains("/static/");
    let bad: Vec<String> = news
        .loaded
        .iter()
        .filter(|(url, status)| ours(url) && *status >= 400)
        .map(|(url, status)| format!("{status} {url}"))
        .chain(news.failed.iter().filter(|(url, _)| ours(url)).map(|(url, why)| format!("{why} {url}")))
        .collect();
    let console: Vec<&String> =
        news.console.iter().filter(|line| !KNOWN.iter().any(|known| line.contains(known))).collect();
    bad.iter().chain(console.iter().copied()).for_each(|line| say(format_args!("  the browser: {line}")));
    let loaded = news.loaded.iter().filter(|(url, status)| ours(url) && of_files(url) && *status < 400);
    let failed = bad.iter().filter(|line| of_files(line)).count();
    Figures::from([
        ("static_failures".into(), failed as f64),
        ("other_failures".into(), (bad.len() - failed) as f64),
        ("console_errors".into(), console.len() as f64),
        ("static_files".into(), loaded.count() as f64),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shops_own_failures_count() {
        let loaded = |url: &str, status| (url.to_string(), status);
        let news = News {
            console: vec!["Failed to load resource".into()],
            loaded: vec![
                loaded("http://127.0.0.1:1/static/a.css", 200),
                loaded("http://127.0.0.1:1/static/b.css", 404),
                loaded("http://127.0.0.1:1/demo/conf/", 500),
                loaded("chrome://x", 404),
            ],
            failed: vec![("https://elsewhere".into(), "net::ERR_NAME_NOT_RESOLVED".into())],
        };
        let figures = figures(&news);
        let expected = [
            ("static_failures", 1.0),
            ("static_files", 1.0),
            ("other_failures", 1.0),
            ("console_errors", 1.0),
        ];
        for (name, value) in expected {
            assert_eq!(figures[name], value, "{name}");
        }
    }
}
