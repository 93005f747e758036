//! http-lb in front of a real gunicorn: curl, requests, slow clients, replicas that die. Kind: driver.

use integration::{
    Error, Result,
    certificates::Authority,
    crowd::{Crowd, End, Errand, Manner, Plan, Request},
    front::{Application, Files, Front},
    gunicorn::Gunicorn,
    http,
    peers::Subject,
    process::Spec,
    python,
    router::{self, HttpLbOptions, Router},
    wait::eventually,
};
use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;

/// Replicas with two workers each, and http-lb before them.
struct Stage {
    lb: Router,
    replicas: Vec<Gunicorn>,
    dir: TempDir,
}

impl Stage {
    fn set(replicas: usize, edit: impl FnOnce(&mut Front)) -> Result<Self> {
        Self::with(replicas, edit, String::new())
    }

    /// The same with more in the configuration.
    fn with(replicas: usize, edit: impl FnOnce(&mut Front), extra: String) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let files = dir.path().join("files");
        fs::create_dir(&files)?;
        fs::write(files.join("file.css"), &"body { color: black }\n".repeat(200)[..4096])?;
        fs::write(files.join(".hidden"), "secret")?;
        let gunicorn = |_| Gunicorn::start("http_echo", WORKERS, dir.path(), &[]);
        let replicas = (0..replicas).map(gunicorn).collect::<Result<Vec<_>>>()?;
        let mut front = Front {
            slots: Some(WORKERS),
            files: vec![Files { prefix: "/static/", root: files }],
            dir: Some(dir.path().join("lb")),
            application: Application::Orders,
            ..Front::before(replicas.iter().map(Gunicorn::addr).collect())
        };
        edit(&mut front);
        let binary = router::binary(router::HTTP)?;
        let options = HttpLbOptions { dir: front.dir.clone(), extra, ..HttpLbOptions::new(&binary) };
        Ok(Self { lb: Router::start(&front, &options)?, replicas, dir })
    }

    fn addr(&self) -> SocketAddr {
        self.lb.addr()
    }

    fn counts(&self, metric: &str, expected: f64) -> Result<()> {
        eventually(SOON, &format!("{metric} {expected}"), || match self.lb.metric(metric) {
            Ok(value) if value == expected => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
    }

    fn crowd(&self, per_second: f64, manner: Manner, request: fn(SocketAddr) -> Request) -> Result<Crowd> {
        let addr = self.addr();
        let errand = Errand { name: "visit", share: 1.0, request: Arc::new(move |_| request(addr)), manner };
        Crowd::start(Plan { addr, per_second, patience: SOON, errands: vec![errand] })
    }
}

fn curl(args: &[&str]) -> Result<String> {
    Spec::new("curl").args(["-sS", "--max-time", "20"]).args(args.iter().copied()).output(SOON)
}

fn page(addr: SocketAddr) -> Request {
    Request::get(addr, "/", "")
}

#[test]
fn requests_finds_what_it_would_find_at_gunicorn_itself() -> Result<()> {
    let stage = Stage::set(1, |_| {})?;
    let said = python::run("http_requests", &[&stage.addr().to_string()])?;
    assert_eq!(said.trim(), "ok");
    Ok(())
}

#[test]
fn curl_reads_writes_and_keeps_its_connection() -> Result<()> {
    let stage = Stage::set(1, |_| {})?;
    let url = |path: &str| format!("http://{}{path}", stage.addr());
    let both = curl(&[
        "-w",
        " %{num_connects}\n",
        &url("/static/file.css"),
        "-o",
        "/dev/null",
        &url("/"),
        "-o",
        "/dev/null",
    ])?;
    assert_eq!(both, " 1\n 0\n");
    let form = curl(&["-d", "item_1=1", &url("/cart/add?next=/")])?;
    assert!(form.contains("\"method\": \"POST\"") && form.contains("\"query\": \"next=/\""), "{form}");
    let expecting = curl(&["-H", "Expect: 100-continue", "-d", &"x".repeat(2000), &url("/")])?;
    assert!(expecting.contains("\"content_length\": \"2000\""), "{expecting}");
    assert!(!expecting.contains("\"expect\""), "{expecting}");
    Ok(())
}

#[test]
fn curl_speaks_http_2_over_tls() -> Result<()> {
    let keys = tempfile::tempdir()?;
    Authority::create()?.serve(keys.path())?;
    let stage = Stage::set(1, |front| front.tls = Some(keys.path().into()))?;
    let ca = keys.path().join("ca.crt").display().to_string();
    let url = |path: &str| format!("https://{}{path}", stage.addr());
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let told = curl(&["--cacert", &ca, flag, "-w", "\n%{http_version}", &url("/a")])?;
        assert!(
            told.contains("\"x_forwarded_proto\": \"https\"") && told.ends_with(&format!("\n{version}")),
            "{told}"
        );
        let file = curl(&["--cacert", &ca, flag, &url("/static/file.css")])?;
        assert_eq!(file.len(), 4096);
    }
    Ok(())
}

/// Eight of them at once, where four workers would be enough to keep everybody out.
#[test]
fn a_slow_upload_takes_no_worker() -> Result<()> {
    let stage = Stage::set(1, |_| {})?;
    let slow = Manner::SlowUpload { pieces: 8, pause: Duration::from_millis(250) };
    let form = |addr| Request::post(addr, "/", "", "text/plain", "x".repeat(4000));
    let uploads = stage.crowd(10.0, slow, form)?;
    uploads.has_come(8)?;
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(http::get(stage.addr(), "/")?.0, 200);
        assert!(asked.elapsed() < Duration::from_millis(800), "a page took {:?}", asked.elapsed());
    }
    let visits = uploads.finish()?;
    let lost: Vec<_> = visits.iter().filter(|visit| !visit.served()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    Ok(())
}

#[test]
fn nobody_notices_that_a_replica_dies() -> Result<()> {
    let mut stage = Stage::set(2, |_| {})?;
    let crowd = stage.crowd(60.0, Manner::Usual, page)?;
    crowd.has_come(30)?;
    stage.replicas.remove(0).kill_9();
    crowd.has_come(120)?;
    let visits = crowd.finish()?;
    let lost: Vec<_> = visits.iter().filter(|visit| !visit.served()).collect();
    assert!(visits.len() > 50 && lost.is_empty(), "{lost:?}");
    Ok(())
}

#[test]
fn a_replica_that_is_drained_is_asked_no_more_and_comes_back() -> Result<()> {
    let mut stage = Stage::set(2, |_| {})?;
    let gone = stage.replicas.remove(0);
    let addr = gone.addr();
    Subject::drain(&mut stage.lb, addr, true)?;
    gone.stop()?;
    let before = stage.lb.metric("http_lb_redispatched_total")?;
    for _ in 0..10 {
        assert_eq!(http::get(stage.addr(), "/")?.0, 200);
    }
    assert_eq!(stage.lb.metric("http_lb_redispatched_total")?, before);
    let back = Gunicorn::start_at(addr, "http_echo", WORKERS, stage.dir.path(), &[])?;
    Subject::drain(&mut stage.lb, addr, false)?;
    stage.replicas.remove(0).kill_9();
    assert_eq!(http::get(stage.addr(), "/")?.0, 200);
    back.stop()
}

#[test]
fn who_comes_too_many_is_told_to_come_again() -> Result<()> {
    let stage = Stage::set(1, |_| {})?;
    let slow = |addr| Request::get(addr, "/slow", "");
    let crowd = stage.crowd(40.0, Manner::Usual, slow)?;
    crowd.has_come(120)?;
    let visits = crowd.finish()?;
    let polite = |end: End| {
        matches!(end, End::Answered { status: 200, .. } | End::Answered { status: 503, retry_after: true })
    };
    let rude: Vec<_> = visits.iter().filter(|visit| !polite(visit.end)).collect();
    let served = visits.iter().filter(|visit| visit.served()).count();
    assert!(rude.is_empty() && served > 10, "{served} served, {rude:?}");
    Ok(())
}

/// Who waits for a worker and goes away must not be computed for: at an on-sale peak most who press "reload" do that.
#[test]
fn who_leaves_the_queue_costs_no_worker() -> Result<()> {
    let stage = Stage::set(1, |_| {})?;
    let (addr, open) = (stage.addr(), stage.dir.path().join("open"));
    let path = format!("/held?{}", open.display());
    let ask = |path: &str| http::ask(addr, "GET", path, None, SOON).map(|(status, _)| status);
    let dialled = stage.lb.metric("http_lb_dialled_total")?;
    thread::scope(|scope| {
        let held: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| ask(&path))).collect();
        stage.counts("http_lb_slots_used", WORKERS as f64)?;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut client = TcpStream::connect(addr)?;
            client.write_all(b"GET /left HTTP/1.1\r\nHost: shop\r\n\r\n")?;
            waiting.push(client);
        }
        stage.counts("http_lb_queue_length", 5.0)?;
        drop(waiting);
        stage.counts("http_lb_abandoned_total", 5.0)?;
        stage.counts("http_lb_queue_length", 0.0)?;
        fs::write(&open, "")?;
        for visit in held {
            assert_eq!(visit.join().expect("no panic")?, 200);
        }
        Ok::<_, Error>(())
    })?;
    assert_eq!(ask("/")?, 200);
    // gunicorn's sync workers take one request from a connection.
    stage.counts("http_lb_dialled_total", dialled + WORKERS as f64 + 1.0)
}

#[test]
fn a_reload_and_a_drain_cut_nobody_off() -> Result<()> {
    let mut stage = Stage::set(1, |_| {})?;
    let crowd = stage.crowd(40.0, Manner::Usual, page)?;
    for round in 1..=5 {
        crowd.has_come(4 * round)?;
        Subject::reload(&mut stage.lb)?;
    }
    let visits = crowd.finish()?;
    assert!(visits.iter().all(|visit| visit.served()), "{visits:?}");
    let code = stage.lb.stop()?;
    if code == Some(0) { Ok(()) } else { Err(Error::new(format!("it ended with {code:?}"))) }
}

/// As in front of a forum: its API has servers of its own.
#[test]
fn a_path_may_have_a_cluster_of_its_own() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let api = Gunicorn::start("orders_app", 1, dir.path(), &[("STACK_SERVICE", "0".into())])?;
    let extra = format!(
        "[[clusters]]\nname = \"api\"\nupstreams = [\"{}\"]\nslots = 1\n\
         [[routes]]\npath = \"/api/\"\ncluster = \"api\"\n\
         [[routes]]\npath = \"/\"\ncluster = \"application\"\n",
        api.addr()
    );
    let stage = Stage::with(1, |_| {}, extra)?;
    let length = |path: &str| http::get(stage.addr(), path).map(|(status, body)| (status, body.len()));
    assert_eq!(length("/api/threads/")?, (200, 16 * 1024));
    assert_eq!(length("/static/file.css")?, (200, 4096));
    assert!(http::get(stage.addr(), "/apis")?.1.contains("\"path\": \"/apis\""));
    Ok(())
}
