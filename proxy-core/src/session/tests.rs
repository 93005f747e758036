//! Sessions of a toy protocol: a line is a request, a line is its answer, `begin` and `end` keep the lease in between.
//! Kind: driver.

use crate::link::Outbox;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UnixStream;

use super::*;
use crate::drain::Drain;
use crate::net::Stream;
use crate::tasks;
use crate::upstream::permits::Permits;
use crate::upstream::pool::PoolLimits;
use crate::upstream::pool::toy::{Far, House, LIMITS, MS, Toy, breathe, play};
use crate::worker::{Floor, Surroundings};

/// What a test may know of a session.
#[derive(Default)]
struct Tale {
    losses: RefCell<Vec<Loss>>,
    ending: Cell<Option<Ending>>,
    forwarded: Cell<usize>,
    last_words: RefCell<Vec<u8>>,
}

#[derive(Default)]
struct Lines {
    tale: Rc<Tale>,
    owed: usize,
    in_tx: bool,
    unanswered: Vec<u8>,
    refused: bool,
}

fn line(input: &[u8]) -> Option<&[u8]> {
    input.iter().position(|&byte| byte == b'\n').map(|end| &input[..=end])
}

impl Machine for Lines {
    type Connect = Toy;

    fn downstream(&mut self, input: &[u8], client: &mut Outbox, server: Option<Port<'_, u32>>) -> Step {
        let Some(line) = line(input) else { return Step::then(Then::More) };
        match line {
            b"quit\n" => return Step::then(Then::Close(Ending::Finished)),
            b"panic\n" => panic!("a bug in the machine"),
            _ if std::mem::take(&mut self.refused) => return Step::skip(line.len()),
            _ if line.starts_with(b"echo") => {
                client.push(line);
                return Step::skip(line.len());
            }
            _ if server.is_none() => return Step::then(Then::Attach),
            b"begin\n" => self.in_tx = true,
            b"end\n" => self.in_tx = false,
            _ => {}
        }
        self.owed += 1;
        self.unanswered.extend_from_slice(line);
        self.tale.forwarded.set(self.tale.forwarded.get() + line.len());
        Step::forward(line.len())
    }

    fn upstream(&mut self, input: &[u8], _: &mut Outbox, _: Port<'_, u32>) -> Step {
        let Some(line) = line(input) else { return Step::then(Then::More) };
        if line.starts_with(b"FATAL") {
            self.tale.last_words.borrow_mut().extend_from_slice(line);
            return Step::skip(line.len());
        }
        self.owed -= 1;
        if self.owed == 0 {
            self.unanswered.clear();
        }
        let then = if self.owed == 0 && !self.in_tx { Then::Detach(Reuse::Clean) } else { Then::Again };
        Step { forward: line.len(), skip: 0, then }
    }

    fn attached(&mut self, _: Port<'_, u32>) {}

    fn lost(&mut self, loss: Loss, client: &mut Outbox, _: &mut u32) -> (Vec<u8>, Then) {
        self.tale.losses.borrow_mut().push(loss);
        if self.in_tx {
            client.push(b"lost\n");
            return (Vec::new(), Then::Close(Ending::Upstream));
        }
        self.owed = 0;
        (std::mem::take(&mut self.unanswered), Then::Again)
    }

    fn refused(&mut self, refusal: &Refusal, client: &mut Outbox) -> Then {
        client.push(format!("{refusal:?}\n").as_bytes());
        self.refused = true;
        Then::Again
    }

    fn gave_up(&mut self) -> bool {
        false
    }

    fn drain(&mut self, client: &mut Outbox, server: Option<Port<'_, u32>>) -> Then {
        if server.is_some() {
            return Then::Again;
        }
        client.push(b"bye\n");
        Then::Close(Ending::Drained)
    }

    fn hung_up(&mut self) -> Ending {
        if self.owed == 0 && !self.in_tx { Ending::Finished } else { Ending::Aborted }
    }
}

/// A worker with one pool, and the house around it.
struct Shop {
    house: House,
    floor: Rc<Floor>,
    load: Arc<AtomicUsize>,
    drain: Drain,
    pool: Rc<Pool<Toy>>,
    permits: Arc<Permits>,
}

impl Shop {
    fn open(house: House, cap: usize, limits: PoolLimits) -> Self {
        let (drain, load, permits) = (Drain::new(), Arc::new(AtomicUsize::new(0)), Permits::new(cap));
        let around = Surroundings { drain: drain.clone(), topology: house.news.subscribe() };
        let floor = Floor::open(0, around, load.clone());
        let pool = house.pool(limits, &permits);
        Self { house, floor, load, drain, pool, permits }
    }

    /// A client comes.
    fn client(&self) -> (Far, Rc<Tale>) {
        let (ours, stream) = UnixStream::pair().unwrap();
        let tale = Rc::new(Tale::default());
        let machine = Lines { tale: tale.clone(), ..Lines::default() };
        let (pool, seat, scratch) = (self.pool.clone(), self.floor.seat(), self.floor.scratch.clone());
        let told = tale.clone();
        tasks::spawn_session(async move {
            let ending = drive(Link::new(Stream::Unix(ours), b""), machine, pool, seat, scratch).await;
            told.ending.set(Some(ending));
        });
        (Far { port: 0, stream }, tale)
    }

    /// A client in the middle of a transaction, and its server.
    async fn client_in_tx(&self) -> (Far, Rc<Tale>, Far) {
        let (mut client, tale) = self.client();
        client.say("begin\n").await;
        breathe().await;
        let mut server = self.house.toy.far_end();
        server.hears("begin\n").await;
        server.say("ok\n").await;
        client.hears("ok\n").await;
        (client, tale, server)
    }

    fn sessions(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

/// Plays a scene in a shop whose pool has this cap.
fn play_in_shop(cap: usize, scene: impl AsyncFnOnce(Shop)) {
    play(async move |house| scene(Shop::open(house, cap, LIMITS)).await);
}

#[test]
fn a_request_is_answered_and_the_next_client_uses_the_same_connection() {
    play_in_shop(1, async |shop| {
        let ((mut one, tale), (mut two, _)) = (shop.client(), shop.client());
        one.say("get a\n").await;
        breathe().await;
        let mut server = shop.house.toy.far_end();
        two.say("get b\n").await;
        server.hears("get a\n").await;
        server.say("A\n").await;
        one.hears("A\n").await;
        server.hears("get b\n").await;
        server.say("B\n").await;
        two.hears("B\n").await;
        one.say("quit\n").await;
        one.hears_last("").await;
        assert_eq!(tale.ending.get(), Some(Ending::Finished));
    });
}

#[test]
fn bytes_arrive_in_order_however_they_are_split() {
    const REQUESTS: &str = "begin\nget a\necho x\nend\n";
    play_in_shop(1, async |shop| {
        let ((mut client, _), mut server) = (shop.client(), None);
        for split in 1..REQUESTS.len() {
            client.say(&REQUESTS[..split]).await;
            breathe().await;
            client.say(&REQUESTS[split..]).await;
            breathe().await;
            let server = server.get_or_insert_with(|| shop.house.toy.far_end());
            server.hears("begin\nget a\nend\n").await;
            client.hears("echo x\n").await;
            let answers = "ok\nA\nok\n";
            let at = split % answers.len();
            server.say(&answers[..at]).await;
            breathe().await;
            server.say(&answers[at..]).await;
            client.hears(answers).await;
        }
        assert_eq!(shop.pool.census().open, 1);
    });
}

/// Many short requests that can be told apart.
fn numbers(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("get {n:09}\n").into_bytes()).collect()
}

/// Kernel buffers and ours together hold less than this.
const BOUND: usize = 2 << 20;

#[test]
fn a_server_that_does_not_read_stops_the_reading_of_the_client() {
    play_in_shop(1, async |shop| {
        let (mut client, _, mut server) = shop.client_in_tx().await;
        let words = numbers(1 << 18);
        let said = client.stuff(&words).await;
        assert!(said < BOUND, "{said}");
        tokio::join!(server.hears(&words), client.say(&words[said..]));
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_reading_of_the_server() {
    play_in_shop(1, async |shop| {
        let (mut client, _, mut server) = shop.client_in_tx().await;
        let requests = numbers(1 << 18);
        tokio::join!(client.say(&requests), server.hears(&requests));
        let said = server.stuff(&requests).await;
        assert!(said < BOUND, "{said}");
        tokio::join!(client.hears(&requests), server.say(&requests[said..]));
    });
}

#[test]
fn a_client_that_asks_the_machine_and_never_reads_is_not_read_either() {
    play_in_shop(1, async |shop| {
        let (mut client, _) = shop.client();
        let words = b"echo 0123456789\n".repeat(1 << 18);
        let said = client.stuff(&words).await;
        assert!(said < BOUND, "{said}");
        let (mut ear, mut mouth) = client.stream.into_split();
        let (rest, mut heard) = (words[said..].to_vec(), vec![0; words.len()]);
        let talk = tokio::io::AsyncWriteExt::write_all(&mut mouth, &rest);
        let listen = tokio::io::AsyncReadExt::read_exact(&mut ear, &mut heard);
        let (talked, listened) = tokio::join!(talk, listen);
        assert!(talked.is_ok() && listened.is_ok() && heard == words);
    });
}

#[test]
fn a_client_that_hangs_up_while_it_waits_leaves_the_queue() {
    play_in_shop(1, async |shop| {
        let _busy = shop.client_in_tx().await;
        let (mut client, tale) = shop.client();
        client.say("get a\n").await;
        breathe().await;
        assert_eq!(shop.pool.census().waiting, 1);
        drop(client);
        breathe().await;
        assert_eq!(shop.pool.census().waiting, 0);
        assert_eq!((tale.ending.get(), shop.sessions()), (Some(Ending::Aborted), 1));
    });
}

#[test]
fn who_waits_too_long_is_told_so_and_may_go_on() {
    play_in_shop(1, async |shop| {
        let (mut busy, _, mut server) = shop.client_in_tx().await;
        let (mut client, _) = shop.client();
        client.say("get a\n").await;
        tokio::time::sleep(LIMITS.wait + 200 * MS).await;
        client.hears("TimedOut\n").await;
        busy.say("end\n").await;
        server.hears("end\n").await;
        server.say("ok\n").await;
        client.say("get b\n").await;
        server.hears("get b\n").await;
    });
}

#[test]
fn a_lease_on_what_is_no_longer_primary_is_fenced() {
    play_in_shop(1, async |shop| {
        let (mut client, tale, mut server) = shop.client_in_tx().await;
        shop.house.crown(2, 2);
        client.hears_last("lost\n").await;
        server.hears_last("").await;
        assert_eq!(tale.losses.take(), [Loss::Fenced { unsent: 0 }]);
    });
}

#[test]
fn a_request_in_flight_is_held_and_executed_on_the_new_primary() {
    play_in_shop(1, async |shop| {
        let (mut client, _) = shop.client();
        client.say("get a\n").await;
        breathe().await;
        shop.house.toy.far_end().hears("get a\n").await;
        shop.house.lose_primary();
        breathe().await;
        assert_eq!(shop.house.hold.snapshot().clients, 1);
        shop.house.crown(2, 2);
        breathe().await;
        let mut server = shop.house.toy.far_end();
        server.hears("get a\n").await;
        server.say("A\n").await;
        client.hears("A\n").await;
        assert_eq!(server.port, 2);
    });
}

#[test]
fn unsent_bytes_are_told_and_what_is_to_be_executed_again_is_so_at_once() {
    play_in_shop(1, async |shop| {
        let (mut client, tale) = shop.client();
        let words = numbers(1 << 16);
        let said = client.stuff(&words).await;
        assert!(said < words.len());
        let server = shop.house.toy.far_end();
        server.stop_listening();
        breathe().await;
        let mut taken = Vec::new();
        let mut server = server.stream;
        let _ = tokio::time::timeout(MS, tokio::io::AsyncReadExt::read_to_end(&mut server, &mut taken)).await;
        breathe().await;
        let losses = tale.losses.take();
        let [Loss::Cut { unsent }] = losses[..] else { panic!("{losses:?}") };
        assert!(unsent > 0 && words.starts_with(&taken));
        let mut second = shop.house.toy.far_end();
        tokio::join!(second.hears(&words), client.say(&words[said..]));
        assert_eq!(tale.forwarded.get() - words.len(), taken.len() + unsent);
    });
}

#[test]
fn the_last_words_of_a_server_are_heard_although_a_write_to_it_fails() {
    play_in_shop(1, async |shop| {
        let (client, tale, server) = shop.client_in_tx().await;
        server.stream.try_write(b"FATAL idle too long\n").unwrap();
        drop(server);
        client.stream.try_write(b"get a\n").unwrap();
        breathe().await;
        assert_eq!(tale.last_words.take(), b"FATAL idle too long\n");
        assert_eq!(tale.losses.borrow().len(), 1);
    });
}

#[test]
fn when_we_drain_who_is_at_its_boundary_leaves_and_who_is_not_goes_on_until_it_is() {
    play_in_shop(2, async |shop| {
        let (mut busy, tale, mut server) = shop.client_in_tx().await;
        let (mut idle, _) = shop.client();
        breathe().await;
        shop.drain.begin();
        idle.hears_last("bye\n").await;
        busy.say("end\n").await;
        server.hears("end\n").await;
        assert_eq!(tale.ending.get(), None);
        server.say("ok\n").await;
        busy.hears_last("ok\nbye\n").await;
        assert_eq!((tale.ending.get(), shop.sessions()), (Some(Ending::Drained), 0));
    });
}

#[test]
fn terminating_cuts_everybody_although_the_watcher_has_gone() {
    play_in_shop(1, async |mut shop| {
        let (mut busy, tale, _server) = shop.client_in_tx().await;
        let (mut waiting, waiters_tale) = shop.client();
        waiting.say("get a\n").await;
        shop.house.news = House::silence();
        breathe().await;
        shop.drain.terminate();
        busy.hears_last("").await;
        waiting.hears_last("").await;
        let cut = Some(Ending::Terminated);
        assert_eq!((tale.ending.get(), waiters_tale.ending.get()), (cut, cut));
    });
}

#[test]
fn a_panic_hurts_its_session_alone_and_leaks_nothing() {
    play_in_shop(1, async |shop| {
        let (mut bad, _, _server) = shop.client_in_tx().await;
        let (mut good, _) = shop.client();
        good.say("get a\n").await;
        bad.say("panic\n").await;
        bad.hears_last("").await;
        breathe().await;
        let mut server = shop.house.toy.far_end();
        server.hears("get a\n").await;
        assert_eq!((shop.sessions(), shop.pool.census().open), (1, 1));
        drop(good);
        breathe().await;
        assert_eq!(shop.sessions(), 0);
        assert!(shop.permits.try_take().is_some());
    });
}

#[test]
fn a_client_that_never_reads_its_last_words_is_left_in_the_end() {
    play_in_shop(1, async |shop| {
        let (mut client, tale) = shop.client();
        client.stuff(&b"echo 0123456789\n".repeat(1 << 18)).await;
        shop.drain.begin();
        tokio::time::sleep(2 * FAREWELL).await;
        assert_eq!((tale.ending.get(), shop.sessions()), (Some(Ending::Drained), 0));
    });
}

#[test]
fn a_client_that_was_slow_gets_the_rest_of_a_long_answer() {
    play_in_shop(1, async |shop| {
        let (mut client, _, mut server) = shop.client_in_tx().await;
        let requests = numbers(1 << 18);
        tokio::join!(client.say(&requests), server.hears(&requests));
        let said = server.stuff(&requests).await;
        // All that the server still has to say is with its kernel: nothing new wakes the session for it.
        client.hears(&requests[..said - said % "get 000000000\n".len()]).await;
    });
}
