//! What passes on one stream. Kind: driver.

use std::io::Write;

use http::StatusCode;

use super::*;
use crate::session::BodyFault;

/// The whole body of an answer.
async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        all.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(all)
}

#[tokio::test]
async fn a_request_is_answered_with_head_body_and_trailers() {
    stage(async {
        let scene = serve_on(terms(), |head, mut client| async move {
            assert_eq!(
                (head.method_text(), head.target(), head.host()),
                (&b"GET"[..], &b"/a?b"[..], &b"shop.example"[..])
            );
            let head = AnswerHead { status: 201, fields: b"x-a: 1\r\n", dated: false, size: Size::Unknown };
            client.begin(&head, b"he", false).unwrap();
            client.put(b"llo").unwrap();
            client.write(Bytes::from_static(b" you")).await.unwrap();
            client.end(b"x-sum: 9\r\n").unwrap();
            client.flush().await.unwrap();
        });
        let (mut requests, _drain, _) = client(scene).await;
        let answer = ask(&mut requests, get("/a?b")).await.await.unwrap();
        assert_eq!((answer.status(), &answer.headers()["x-a"]), (StatusCode::CREATED, &"1".parse().unwrap()));
        assert!(answer.headers().contains_key("date") && !answer.headers().contains_key("content-length"));
        let mut body = answer.into_body();
        let mut all = Vec::new();
        while let Some(piece) = body.data().await {
            all.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(all, b"hello you");
        assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "9");
    })
    .await;
}

#[tokio::test]
async fn bodies_larger_than_all_windows_pass_both_ways() {
    const LENGTH: usize = 3 << 20;
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move {
            let mut all = Vec::new();
            while let Some(piece) = client.body().await.unwrap() {
                all.extend_from_slice(&piece);
            }
            let size = Size::Length(all.len() as u64);
            client.begin(&AnswerHead { status: 200, fields: b"", dated: false, size }, b"", false).unwrap();
            client.write(all.into()).await.unwrap();
            client.end(b"").unwrap();
        });
        let (requests, _drain, _) = client(scene).await;
        let request = Request::post("http://shop.example/").body(()).unwrap();
        let (answer, mut sender) = requests.ready().await.unwrap().send_request(request, false).unwrap();
        let body = (0..LENGTH).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        sender.send_data(body.clone().into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["content-length"], LENGTH.to_string());
        assert!(read(answer.into_body()).await.unwrap() == body, "as it was sent");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_waits_hears_a_100_before_it_sends_and_hints_before_the_answer() {
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move {
            assert_eq!(client.body().await.unwrap().unwrap(), "now");
            client.inform(103, b"link: </a.css>; rel=preload\r\n").unwrap();
            answer(&mut client, 200, b"", b"").await.unwrap();
        });
        let (requests, _drain, _) = client(scene).await;
        let request =
            Request::post("http://shop.example/").header("expect", "100-continue").body(()).unwrap();
        let (mut answer, mut body) = requests.ready().await.unwrap().send_request(request, false).unwrap();
        let hint = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(hint.status(), StatusCode::CONTINUE);
        body.send_data("now".into(), true).unwrap();
        let hint = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((hint.status(), hint.headers().len()), (StatusCode::EARLY_HINTS, 1));
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_head_tells_its_length_and_has_no_body() {
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move {
            let head = AnswerHead { status: 200, fields: b"", dated: false, size: Size::Told(Some(5)) };
            client.begin(&head, b"", true).unwrap();
        });
        let (mut requests, _drain, _) = client(scene).await;
        let request = Request::head("http://shop.example/").body(()).unwrap();
        let answer = ask(&mut requests, request).await.await.unwrap();
        assert_eq!(answer.headers()["content-length"], "5");
        assert!(answer.into_body().is_end_stream());
    })
    .await;
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_one_field() {
    stage(async {
        let scene = serve_on(terms(), |head, mut client| async move {
            let cookie = [b"x: ", head.field(b"cookie").unwrap(), b"\r\n"].concat();
            answer(&mut client, 200, &cookie, b"").await.unwrap();
        });
        let (mut requests, _drain, _) = client(scene).await;
        let mut request = get("/");
        request.headers_mut().append("cookie", "a=1".parse().unwrap());
        request.headers_mut().append("cookie", "b=2".parse().unwrap());
        let answer = ask(&mut requests, request).await.await.unwrap();
        assert_eq!(answer.headers()["x"], "a=1; b=2");
    })
    .await;
}

/// An answer that goes wrong in the exchange is a reset for its reader, never an end.
async fn check_broken<F, Fut>(exchange: F)
where
    F: FnMut(Box<RequestHead>, Exchange) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    stage(async {
        let (mut requests, _drain, _) = client(serve_on(terms(), exchange)).await;
        let outcome = match ask(&mut requests, get("/")).await.await {
            Ok(answer) => read(answer.into_body()).await,
            Err(error) => Err(error),
        };
        assert_eq!(outcome.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    })
    .await;
}

const FIVE: AnswerHead<'_> = AnswerHead { status: 200, fields: b"", dated: false, size: Size::Length(5) };

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    check_broken(|_, _| async {}).await;
    check_broken(|_, mut client| async move { client.begin(&FIVE, b"abc", false).unwrap() }).await;
    check_broken(|_, mut client| async move {
        client.begin(&FIVE, b"abc", false).unwrap();
        assert!(client.end(b"").is_err(), "shorter than promised");
    })
    .await;
    check_broken(|_, mut client| async move {
        client.begin(&FIVE, b"abc", false).unwrap();
        assert!(client.put(b"defg").is_err(), "longer than promised");
    })
    .await;
    check_broken(|_, _| async { panic!("a bug of ours") }).await;
}

#[tokio::test]
async fn a_piece_of_a_file_is_sent() {
    stage(async {
        let scene = serve_on(terms(), |_, mut client| async move {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[b'x'; 100_000]).unwrap();
            let head = AnswerHead { size: Size::Length(99_000), ..FIVE };
            client.begin(&head, b"", false).unwrap();
            client.send_file(&file, 500, 99_000).await.unwrap();
            client.end(b"").unwrap();
        });
        let (mut requests, _drain, _) = client(scene).await;
        let answer = ask(&mut requests, get("/")).await.await.unwrap();
        assert_eq!(read(answer.into_body()).await.unwrap().len(), 99_000);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_shrinks_breaks_the_answer_off() {
    check_broken(|_, mut client| async move {
        client.begin(&FIVE, b"", false).unwrap();
        let empty = tempfile::tempfile().unwrap();
        assert!(client.send_file(&empty, 0, 5).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    stage(async {
        let (scene, told) = serve_one(async |mut client| client.gone().await);
        let (mut requests, _drain, _) = client(scene).await;
        drop(ask(&mut requests, get("/")).await);
        told.await.unwrap();
    })
    .await;
}

/// How a request's body ends that is sent in vain: after `sent` its client is silent.
async fn check_body(length: Option<&str>, sent: &[u8], whole: bool, expected: BodyFault) {
    stage(async {
        let (scene, told) = serve_one(async |mut client| {
            loop {
                match client.body().await {
                    Ok(Some(_)) => (),
                    Ok(None) => panic!("whole"),
                    Err(fault) => break fault,
                }
            }
        });
        let (requests, _drain, _) = client(scene).await;
        let mut request = Request::post("http://shop.example/").body(()).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let (_answer, mut body) = requests.ready().await.unwrap().send_request(request, false).unwrap();
        body.send_data(Bytes::copy_from_slice(sent), whole).unwrap();
        assert_eq!(told.await.unwrap(), expected);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_slow() {
    check_body(None, b"abc", false, BodyFault::Slow).await;
}

#[tokio::test]
async fn a_body_has_the_length_that_was_promised() {
    check_body(Some("5"), b"abc", true, BodyFault::Gone).await;
    check_body(Some("2"), b"abc", false, BodyFault::Gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_opens_no_window_is_given_up() {
    stage(async {
        let (scene, told) = serve_one(async |mut client| {
            let head = AnswerHead { size: Size::Unknown, ..FIVE };
            client.begin(&head, b"", false).unwrap();
            let begun = Instant::now();
            assert!(client.write(vec![0; 1 << 20].into()).await.is_err());
            begun.elapsed()
        });
        let (mut requests, _drain, _) = client(scene).await;
        let answer = ask(&mut requests, get("/")).await.await.unwrap();
        // 64 KiB went through the first window: at 512 bytes a second they'd buy 128 s, but no pause is so long.
        let took = told.await.unwrap();
        assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(63), "{took:?}");
        let mut body = answer.into_body();
        while let Some(Ok(_)) = body.data().await {}
    })
    .await;
}
