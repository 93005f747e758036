//! The endpoint as a client sees it, over a real loopback socket. Kind: driver.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Served {
    address: SocketAddr,
    view: View,
}

async fn served() -> Served {
    let registry = Registry::new("pg-router", "1.2.3");
    let view = View {
        name: "pg-router",
        version: "1.2.3",
        since: Instant::now(),
        drain: Drain::new(),
        registry,
        readiness: Readiness::default(),
        status: Status::default(),
        routes: Routes::default(),
    };
    let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into()).await.expect("loopback can be bound");
    let address = endpoint.local_addr().expect("it is bound");
    tasks::spawn("admin", endpoint.serve(view.clone()));
    Served { address, view }
}

impl Served {
    async fn ask(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = lines.replace('\n', "\r\n") + "\r\nHost: here\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        answer
    }

    async fn check(&self, request: &str, status: u16, part: &str) {
        let answer = self.ask(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(part), "no {part:?} in {answer}");
    }
}

#[tokio::test]
async fn it_is_alive_and_counts() {
    let served = served().await;
    served.check("GET /livez HTTP/1.1", 200, "alive").await;
    served.check("GET /metrics HTTP/1.1", 200, r#"pg_router_build_info{version="1.2.3"} 1"#).await;
}

#[tokio::test]
async fn it_is_ready_once_the_latches_are_dropped() {
    let served = served().await;
    let latch = served.view.readiness.latch("topology");
    served.check("GET /readyz HTTP/1.1", 503, "waiting for: topology").await;
    drop(latch);
    served.check("GET /readyz HTTP/1.1", 200, "ready").await;
}

#[tokio::test]
async fn it_is_not_ready_while_draining_but_alive() {
    let served = served().await;
    served.check("POST /drain HTTP/1.1", 202, "draining").await;
    assert_eq!(served.view.drain.phase(), Phase::Draining);
    served.check("GET /readyz HTTP/1.1", 503, "draining").await;
    served.check("GET /livez HTTP/1.1", 200, "alive").await;
}

#[tokio::test]
async fn the_status_is_json_for_who_asks_and_a_page_for_people() {
    let served = served().await;
    served.view.status.section("topology", || json!({ "epoch": 7 }));
    served.check("GET /status.json HTTP/1.1", 200, "\"epoch\": 7").await;
    served.check("GET /status?format=json HTTP/1.1", 200, "\"phase\": \"running\"").await;
    served.check("GET /status HTTP/1.1\nAccept: application/json", 200, "\"ready\": true").await;
    served.check("GET /status HTTP/1.1\nAccept: text/html", 200, "<!doctype html>").await;
}

#[tokio::test]
async fn a_page_of_another_site_cannot_drain_us() {
    let served = served().await;
    served.check("POST /drain HTTP/1.1\nOrigin: http://evil.example", 403, "not from another site").await;
    served.check("GET /drain HTTP/1.1", 405, "allow: POST").await;
    assert_eq!(served.view.drain.phase(), Phase::Running);
    served.check("POST /drain HTTP/1.1\nOrigin: http://here", 202, "draining").await;
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let served = served().await;
    served.check("GET /nothing HTTP/1.1", 404, "try /livez").await;
    served.check("POST /metrics HTTP/1.1", 405, "allow: GET, HEAD").await;
}

#[tokio::test]
async fn a_binary_adds_what_to_look_at_and_what_to_do() {
    let served = served().await;
    let routes = &served.view.routes;
    routes.look("/primary", |query| Reply::new(503, format!("{:?}", query.get("node"))));
    routes.act("/switchover", Duration::from_secs(1), |query| {
        Box::pin(async move { Reply::new(200, format!("{{\"to\": {:?}}}", query.get("to"))) })
    });
    served.check("GET /primary?node=a:1 HTTP/1.1", 503, "Some(\"a:1\")").await;
    served.check("POST /primary HTTP/1.1", 405, "allow: GET, HEAD").await;
    served.check("POST /switchover?to=b HTTP/1.1", 200, "application/json").await;
    served.check("GET /switchover HTTP/1.1", 405, "allow: POST").await;
    served.check("POST /switchover HTTP/1.1\nOrigin: http://evil.example", 403, "another site").await;
}

#[tokio::test]
async fn what_fails_or_takes_too_long_is_told() {
    let served = served().await;
    served.view.routes.act("/panic", Duration::from_secs(1), |_| Box::pin(async { panic!("oh") }));
    served.view.routes.act("/never", Duration::from_millis(1), |_| Box::pin(std::future::pending()));
    served.check("POST /panic HTTP/1.1", 500, "look into the log").await;
    served.check("POST /never HTTP/1.1", 504, "goes on").await;
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("innerHTML"));
}
