//! Names, by a name server of our own on loopback. Kind: driver.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::Name;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record as Resource, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::*;

/// What the name server knows: a name, a type, and what is behind them.
type Zone = Arc<Mutex<Zoned>>;

#[derive(Default)]
struct Zoned {
    records: Vec<(&'static str, RData)>,
    /// It answers SERVFAIL.
    fails: bool,
    asked: usize,
}

/// Answers until it is dropped.
async fn serve(socket: UdpSocket, zone: Zone) {
    let mut packet = [0; 1500];
    loop {
        let (len, from) = socket.recv_from(&mut packet).await.unwrap();
        let question = Message::from_vec(&packet[..len]).unwrap();
        let reply = reply(&question, &mut zone.lock().unwrap());
        socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
    }
}

fn reply(question: &Message, zone: &mut Zoned) -> Message {
    zone.asked += 1;
    let query = question.query().unwrap();
    let mut reply = Message::new();
    reply.set_id(question.id()).set_message_type(MessageType::Response).add_query(query.clone());
    reply.set_recursion_available(true);
    if zone.fails {
        reply.set_response_code(ResponseCode::ServFail);
        return reply;
    }
    let asked = query.name().to_ascii();
    let found = zone.records.iter().filter(|(name, data)| {
        asked.trim_end_matches('.').eq_ignore_ascii_case(name) && data.record_type() == query.query_type()
    });
    for (_, data) in found {
        // Ten minutes, as Docker says, which must not keep us from asking again.
        reply.add_answer(Resource::from_rdata(query.name().clone(), 600, data.clone()));
    }
    if !zone.records.iter().any(|(name, _)| asked.trim_end_matches('.').eq_ignore_ascii_case(name)) {
        reply.set_response_code(ResponseCode::NXDomain);
    }
    reply
}

fn address(name: &'static str, ip: &str) -> (&'static str, RData) {
    (name, ip.parse::<IpAddr>().unwrap().into())
}

fn service(name: &'static str, priority: u16, weight: u16, port: u16, target: &str) -> (&'static str, RData) {
    (name, RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())))
}

struct Scene {
    zone: Zone,
    heard: watch::Receiver<String>,
    name: Target,
}

impl Scene {
    fn change(&self, change: impl FnOnce(&mut Zoned)) {
        change(&mut self.zone.lock().unwrap());
    }

    /// Waits until the name stands for this: `addr*weight/priority`, or `nothing`.
    async fn hears(&mut self, expected: &str) {
        let heard = self.heard.wait_for(|heard| heard == expected);
        if timeout(Duration::from_secs(10), heard).await.is_err() {
            panic!("expected {expected:?}, and {} is {:?}", self.name, *self.heard.borrow());
        }
    }
}

fn told(records: Option<Vec<Record>>) -> String {
    let Some(mut records) = records else { return "nothing".to_owned() };
    records.sort_by(|a, b| a.addr.cmp(&b.addr));
    let told = records.iter().map(|record| format!("{}*{}/{}", record.addr, record.weight, record.priority));
    told.collect::<Vec<_>>().join(" ")
}

/// Follows `name` while `story` is told.
async fn follow(name: &str, records: Vec<(&'static str, RData)>, story: impl AsyncFnOnce(Scene)) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server: SocketAddr = socket.local_addr().unwrap();
    let zone = Zone::default();
    zone.lock().unwrap().records = records;
    let (interval, patience) = (Duration::from_millis(20), Duration::from_millis(500));
    let names = Names::new(Resolution { interval, timeout: patience, servers: vec![server] }).unwrap();
    let (sender, heard) = watch::channel(String::new());
    let name: Target = name.parse().unwrap();
    let scene = Scene { zone: zone.clone(), heard, name: name.clone() };
    let name = [name];
    tokio::select! {
        () = serve(socket, zone) => {}
        () = names.follow(&name, |_, records| _ = sender.send_replace(told(records))) => {}
        () = story(scene) => {}
    }
}

#[tokio::test]
async fn addresses_are_followed_however_long_they_are_said_to_live() {
    let records = vec![address("tasks.shop", "10.0.0.1"), address("tasks.shop", "10.0.0.2")];
    follow("dns:tasks.shop:8000", records, async |mut scene| {
        scene.hears("10.0.0.1:8000*1/0 10.0.0.2:8000*1/0").await;
        scene.change(|zone| zone.records[0] = address("tasks.shop", "10.0.0.3"));
        scene.hears("10.0.0.2:8000*1/0 10.0.0.3:8000*1/0").await;
        scene.change(|zone| zone.records.push(address("tasks.shop", "fd00::1")));
        scene.hears("10.0.0.2:8000*1/0 10.0.0.3:8000*1/0 [fd00::1]:8000*1/0").await;
    })
    .await;
}

#[tokio::test]
async fn failures_and_empty_answers_are_no_answers() {
    follow("dns:tasks.shop:8000", vec![address("tasks.shop", "10.0.0.1")], async |mut scene| {
        scene.hears("10.0.0.1:8000*1/0").await;
        scene.change(|zone| zone.fails = true);
        scene.hears("nothing").await;
        scene.change(|zone| zone.fails = false);
        scene.hears("10.0.0.1:8000*1/0").await;
        scene.change(|zone| zone.records.clear());
        scene.hears("nothing").await;
        scene.change(|zone| zone.records = vec![address("tasks.shop", "10.0.0.9")]);
        scene.hears("10.0.0.9:8000*1/0").await;
    })
    .await;
}

#[tokio::test]
async fn services_name_hosts_ports_priorities_and_weights() {
    let records = vec![
        service("_http._tcp.shop", 1, 5, 8001, "a.shop."),
        service("_http._tcp.shop", 2, 1, 8002, "b.shop."),
        service("_http._tcp.shop", 1, 1, 8003, "nowhere.shop."),
        address("a.shop", "10.0.0.1"),
        address("b.shop", "10.0.0.2"),
    ];
    follow("srv:_http._tcp.shop", records, async |mut scene| {
        scene.hears("10.0.0.1:8001*5/1 10.0.0.2:8002*1/2").await;
        scene.change(|zone| zone.records = vec![service("_http._tcp.shop", 0, 0, 0, ".")]);
        scene.hears("nothing").await;
    })
    .await;
}

#[test]
fn a_question_has_one_type() {
    assert_eq!(address("x", "10.0.0.1").1.record_type(), RecordType::A);
    assert_eq!(address("x", "::1").1.record_type(), RecordType::AAAA);
}
