//! How connections end. Kind: driver.

use super::*;

async fn hello(_: Box<RequestHead>, mut client: Exchange) {
    let _ = answer(&mut client, 200, b"", b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_is_shown_the_door() {
    stage(async {
        let mut scene = serve_on(terms(), hello);
        frames::greet(&mut scene.near).await;
        frames::ask(&mut scene.near, 1).await;
        assert_eq!(frames::verdict(&mut scene.near).await, "answer 1 200");
        let begun = Instant::now();
        assert_eq!(frames::verdict(&mut scene.near).await, "goaway NO_ERROR");
        assert!(begun.elapsed() >= terms().idle && begun.elapsed() < terms().idle + Duration::from_secs(1));
        assert_eq!(scene.ending.await.unwrap(), Ending::Idle);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_at_all_has_the_time_of_a_preface() {
    stage(async {
        let scene = serve_on(terms(), hello);
        let begun = Instant::now();
        assert_eq!(scene.ending.await.unwrap(), Ending::Idle);
        assert!(begun.elapsed() >= terms().preface);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_request_under_way_is_not_idle() {
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move {
            timeout(Duration::from_secs(600), client.gone()).await.unwrap_err();
            answer(&mut client, 200, b"", b"late").await.unwrap();
        });
        let (mut requests, _drain, _) = client(scene).await;
        assert_eq!(ask(&mut requests, get("/")).await.await.unwrap().status(), 200);
    })
    .await;
}

#[tokio::test]
async fn draining_ends_what_is_open_and_takes_nothing_new() {
    stage(async {
        let (go, wait) = oneshot::channel::<()>();
        let mut wait = Some(wait);
        let scene = serve_on(terms(), move |_, mut client| {
            let wait = wait.take();
            async move {
                wait.unwrap().await.unwrap();
                answer(&mut client, 200, b"", b"done").await.unwrap();
            }
        });
        let (mut requests, drain, ending) = client(scene).await;
        let answer = ask(&mut requests, get("/")).await;
        drain.begin();
        poll_fn(|cx| requests.poll_ready(cx)).await.ok();
        while requests.clone().ready().await.is_ok() {
            tokio::task::yield_now().await; // until it has heard the GOAWAY
        }
        go.send(()).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_eq!(ending.await.unwrap(), Ending::Closed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_stays_after_the_goodbye_is_cut() {
    stage(async {
        let mut scene = serve_on(terms(), hello);
        // The preface and settings, and then not even an answer to the PING that h2 sends with its GOAWAY.
        frames::greet(&mut scene.near).await;
        scene.drain.begin();
        let begun = Instant::now();
        assert_eq!(scene.ending.await.unwrap(), Ending::Closed);
        assert!(begun.elapsed() >= FAREWELL);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_process_cuts() {
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move { client.gone().await });
        let (mut requests, drain, ending) = client(scene).await;
        let answer = ask(&mut requests, get("/")).await;
        drain.terminate();
        assert_eq!(ending.await.unwrap(), Ending::Terminated);
        assert!(answer.await.is_err());
    })
    .await;
}

#[tokio::test]
async fn after_so_many_requests_a_connection_is_closed_in_good_order() {
    stage(async {
        let (mut requests, _drain, ending) = client(serve_on(Terms { requests: 3, ..terms() }, hello)).await;
        for _ in 0..3 {
            assert_eq!(ask(&mut requests, get("/")).await.await.unwrap().status(), 200);
        }
        assert_eq!(ending.await.unwrap(), Ending::Closed);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_is_given_up() {
    stage(async {
        let mut scene = serve_on(terms(), |_, mut client| async move {
            let _ = answer(&mut client, 200, b"", &[0; 60_000]).await;
        });
        // Sixteen answers within the windows that the client opens, none of which it reads.
        frames::greet_with_large_windows(&mut scene.near).await;
        for stream in (1..32).step_by(2) {
            frames::ask(&mut scene.near, stream).await;
        }
        assert_eq!(scene.ending.await.unwrap(), Ending::Stalled);
    })
    .await;
}
