//! What the router answers in Redis' place. Kind: pure.

use std::sync::Arc;

use super::*;
use crate::command::{Route, find, route};
use crate::session::registry::tests::enter;
use crate::session::registry::{Doing, Stay, Summons};
use crate::wire::build::put_request;

/// The router's clock at which everything is asked.
const NOW: u64 = 8_500;

struct Client {
    registry: Arc<Registry>,
    profile: Profile,
}

impl Client {
    /// The client of number 1, which came from port 1.
    fn new() -> Self {
        let registry = Registry::new();
        let profile = Profile::new(enter(&registry, 1));
        Self { registry, profile }
    }

    fn with(&mut self, port: u16) -> Stay {
        enter(&self.registry, port)
    }

    fn asks(&mut self, line: &str) -> (Effect, String) {
        let args: Vec<Vec<u8>> = line.split(' ').map(|arg| arg.replace('~', " ").into_bytes()).collect();
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let command = find(args[0], args.get(1).copied());
        let mut request = Vec::new();
        put_request(&mut request, &args);
        let Route::Local(verb) = route(command, Args::new(&request)) else { panic!("{line} is not ours") };
        let mut out = Vec::new();
        let effect = answer(verb, Args::new(&request), &mut self.profile, &self.registry, NOW, &mut out);
        (effect, String::from_utf8(out).unwrap().replace("\r\n", "/"))
    }

    #[track_caller]
    fn check(&mut self, line: &str, answer: &str) {
        assert_eq!(self.asks(line), (Effect::Answered, answer.to_owned()), "{line}");
    }

    #[track_caller]
    fn does(&mut self, line: &str, effect: Effect) {
        assert_eq!(self.asks(line), (effect, String::new()), "{line}");
    }
}

fn login(user: Option<&str>, password: &str) -> Login {
    Login { user: user.map(|user| user.as_bytes().to_vec()), password: password.as_bytes().to_vec() }
}

#[test]
fn logins_are_read_as_redis_reads_them() {
    let mut client = Client::new();
    client.does("AUTH secret", Effect::Login(login(None, "secret")));
    client.does("AUTH bob secret", Effect::Login(login(Some("bob"), "secret")));
    client.check("AUTH", "-ERR wrong number of arguments for 'auth' command/");
    client.check("AUTH a b c", "-ERR syntax error/");
}

#[test]
fn a_password_is_never_shown() {
    assert_eq!(format!("{:?}", login(Some("bob"), "secret")), "Login { user: Some([98, 111, 98]), .. }");
}

#[test]
fn hello_is_read_as_redis_reads_it() {
    let mut client = Client::new();
    client.does("HELLO", Effect::Hello(Hello::default()));
    client.does("HELLO 3", Effect::Hello(Hello { resp: Some(Resp::V3), ..Hello::default() }));
    let all = Hello { resp: Some(Resp::V2), login: Some(login(Some("a"), "b")), name: Some(b"c".to_vec()) };
    client.does("HELLO 2 auth a b SETNAME c", Effect::Hello(all));
    client.check("HELLO 4", "-NOPROTO unsupported protocol version/");
    client.check("HELLO abc", "-ERR Protocol version is not an integer or out of range/");
    client.check("HELLO 2 AUTH x", "-ERR Syntax error in HELLO option 'AUTH'/");
    client.check("HELLO 2 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'/");
    client.check("HELLO 3 SETNAME a b", "-ERR Syntax error in HELLO option 'b'/");
    let name = "-ERR Client names cannot contain spaces, newlines or special characters./";
    client.check("HELLO 3 SETNAME a~b", name);
}

#[test]
fn hello_changes_a_client_once_it_is_settled() {
    let mut client = Client::new();
    let hello = Hello { resp: Some(Resp::V3), login: None, name: Some(b"x".to_vec()) };
    hello.settle(&mut client.profile);
    assert_eq!(client.profile.guest().card(), client.profile.card);
    client.check("CLIENT GETNAME", "$1/x/");
    assert_eq!(client.profile.card.resp, Resp::V3);
    Hello::default().settle(&mut client.profile);
    assert_eq!((client.profile.card.resp, &*client.profile.card.name), (Resp::V3, &b"x"[..]));
}

#[test]
fn the_servers_hello_is_told_with_the_clients_own_number() {
    let version = "$7/version/$6/7.0.15/";
    let rest = "$4/mode/$8/sentinel/$4/role/$6/master/";
    let map = |head: &str, proto: u8, id: u64, modules: &str| {
        format!("{head}$6/server/$5/redis/{version}$5/proto/:{proto}/$2/id/:{id}/{rest}$7/modules/{modules}")
    };
    let module = "*1/%2/$4/name/$2/bf/$3/ver/:1/";
    for upstream in [map("%7/", 3, 4711, "*0/"), map("*14/", 2, 4711, "*0/"), map("%7/", 3, 1, module)] {
        for (resp, expected) in [(Resp::V2, map("*14/", 2, 9, "*0/")), (Resp::V3, map("%7/", 3, 9, "*0/"))] {
            let mut out = Vec::new();
            put_hello(&mut out, resp, upstream.replace('/', "\r\n").as_bytes(), 9);
            assert_eq!(String::from_utf8(out).unwrap().replace("\r\n", "/"), expected);
        }
    }
}

#[test]
fn databases_are_read_as_redis_reads_them() {
    let mut client = Client::new();
    client.does("SELECT 3", Effect::Select(3));
    client.check("SELECT -1", "-ERR DB index is out of range/");
    for wrong in ["abc", "99999999999999999999", "4294967296", "01", "+1"] {
        client.check(&format!("SELECT {wrong}"), "-ERR value is not an integer or out of range/");
    }
    client.check("SELECT 1 2", "-ERR wrong number of arguments for 'select' command/");
}

#[test]
fn transactions_that_were_not_begun_end_with_an_error() {
    let mut client = Client::new();
    client.check("EXEC", "-ERR EXEC without MULTI/");
    client.check("DISCARD", "-ERR DISCARD without MULTI/");
    client.check("EXEC x", "-ERR wrong number of arguments for 'exec' command/");
    client.check("UNWATCH", "+OK/");
    client.check("MULTI", "+OK/");
}

#[test]
fn leaving_and_beginning_anew() {
    let mut client = Client::new();
    assert_eq!(client.asks("QUIT x"), (Effect::Quit, "+OK/".to_owned()));
    client.does("RESET", Effect::Reset);
    client.check("RESET x", "-ERR wrong number of arguments for 'reset' command/");
    client.check("CLIENT SETNAME x", "+OK/");
    client.check("CLIENT SETINFO LIB-NAME redis-py", "+OK/");
    client.profile.select(3);
    client.profile.reset();
    client.check("CLIENT GETNAME", "$-1/");
    assert_eq!((client.profile.card.db, &*client.profile.card.lib_name), (0, &b"redis-py"[..]));
}

#[test]
fn a_client_has_a_number_and_a_name() {
    let mut client = Client::new();
    client.check("CLIENT ID", ":1/");
    client.check("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command/");
    client.check("CLIENT GETNAME", "$-1/");
    client.profile.speak(Resp::V3);
    client.check("CLIENT GETNAME", "_/");
    client.check("CLIENT SETNAME foo", "+OK/");
    client.check("CLIENT GETNAME", "$3/foo/");
    let error = "-ERR Client names cannot contain spaces, newlines or special characters./";
    client.check("CLIENT SETNAME a~b", error);
    client.check("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command/");
    client.check("CLIENT SETNAME ", "+OK/");
    client.check("CLIENT GETNAME", "_/");
}

#[test]
fn a_library_may_introduce_itself() {
    let mut client = Client::new();
    client.check("CLIENT SETINFO LIB-NAME redis-py(x)", "+OK/");
    client.check("CLIENT SETINFO lib-ver 5.0", "+OK/");
    client.check("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'/");
    let error = "-ERR lib-ver cannot contain spaces, newlines or special characters./";
    client.check("CLIENT SETINFO LIB-VER a~b", error);
    let (_, info) = client.asks("CLIENT INFO");
    assert!(info.ends_with("lib-name=redis-py(x) lib-ver=5.0\n/"), "{info}");
    let unknown = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP./";
    client.check("CLIENT MAINT_NOTIFICATIONS ON", unknown);
}

#[test]
fn lines_are_those_of_redis() {
    let mut client = Client::new();
    client.check("CLIENT SETNAME foo", "+OK/");
    client.profile.log_in(Some(b"app"));
    client.profile.select(2);
    let line = "id=1 addr=127.0.0.1:1 laddr=127.0.0.1:6379 fd=-1 name=foo age=7 idle=0 flags=N db=2 sub=0 psub=0 \
                ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
                tot-mem=0 events=r cmd=client user=app redir=-1 resp=2 lib-name= lib-ver=\n";
    client.check("CLIENT INFO", &format!("${}/{line}/", line.len()));
    client.check("CLIENT LIST", &format!("${}/{line}/", line.len()));
    client.profile.speak(Resp::V3);
    let (_, info) = client.asks("CLIENT INFO");
    assert!(info.starts_with(&format!("={}/txt:id=1 ", line.len() + 4)), "{info}");
}

/// The numbers of the clients that a list names.
fn listed(client: &mut Client, line: &str) -> Vec<String> {
    let (effect, list) = client.asks(line);
    assert_eq!(effect, Effect::Answered);
    let ids = list.split("id=").skip(1).filter_map(|rest| rest.split(' ').next());
    ids.filter(|id| id.parse::<u64>().is_ok()).map(str::to_owned).collect()
}

#[test]
fn lists_are_filtered() {
    let mut client = Client::new();
    let others: Vec<_> = (2..5).map(|port| client.with(port)).collect();
    others[0].guest().does(Doing::Subscribed);
    assert_eq!(listed(&mut client, "CLIENT LIST"), ["1", "2", "3", "4"]);
    assert_eq!(listed(&mut client, "CLIENT LIST TYPE normal"), ["1", "3", "4"]);
    assert_eq!(listed(&mut client, "CLIENT LIST TYPE PUBSUB"), ["2"]);
    assert_eq!(listed(&mut client, "CLIENT LIST ID 4 1 99 -5"), ["1", "4"]);
    client.check("CLIENT LIST TYPE replica", "$0//");
    client.check("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'/");
    client.check("CLIENT LIST ID 1 x", "-ERR Invalid client ID/");
    for wrong in ["TYPE", "ID", "foo", "TYPE normal x"] {
        client.check(&format!("CLIENT LIST {wrong}"), "-ERR syntax error/");
    }
}

#[test]
fn clients_are_killed_by_address_or_by_filters() {
    let mut client = Client::new();
    let others: Vec<_> = (2..6).map(|port| client.with(port)).collect();
    let killed = |at: usize| others[at].guest().summoned() == Summons::Kill;
    client.check("CLIENT KILL 127.0.0.1:2", "+OK/");
    client.check("CLIENT KILL ID 3", ":1/");
    client.check("CLIENT KILL ADDR 127.0.0.1:4 LADDR 127.0.0.1:6379 USER default", ":1/");
    assert_eq!([0, 1, 2, 3].map(killed), [true, true, true, false]);
    others[3].guest().does(Doing::Subscribed);
    client.check("CLIENT KILL TYPE pubsub MAXAGE 8", ":0/");
    client.check("CLIENT KILL TYPE pubsub MAXAGE 7", ":1/");
    assert!(killed(3));
    client.check("CLIENT KILL 127.0.0.1:99", "-ERR No such client/");
    client.check("CLIENT KILL ID 1", ":0/");
    assert_eq!(client.asks("CLIENT KILL ID 1 SKIPME no"), (Effect::Killed, ":1/".to_owned()));
    assert_eq!(client.asks("CLIENT KILL 127.0.0.1:1"), (Effect::Killed, "+OK/".to_owned()));
}

#[test]
fn killing_is_refused_as_redis_refuses_it() {
    let mut client = Client::new();
    client.check("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command/");
    client.check("CLIENT KILL ID", "-ERR No such client/");
    for id in ["x", "0", "-1"] {
        client.check(&format!("CLIENT KILL ID {id}"), "-ERR client-id should be greater than 0/");
    }
    client.check("CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'/");
    for wrong in ["FOO bar", "ID 1 SKIPME", "USER x SKIPME maybe", "1:2 x y"] {
        client.check(&format!("CLIENT KILL {wrong}"), "-ERR syntax error/");
    }
}

#[test]
fn only_who_is_blocked_is_unblocked() {
    let mut client = Client::new();
    let other = client.with(2);
    client.check("CLIENT UNBLOCK 2", ":0/");
    other.guest().does(Doing::Blocked);
    client.check("CLIENT UNBLOCK 2", ":1/");
    assert_eq!(other.guest().summoned(), Summons::Timeout);
    client.check("CLIENT UNBLOCK 2 ERROR", ":1/");
    assert_eq!(other.guest().summoned(), Summons::Error);
    client.check("CLIENT UNBLOCK 99 TIMEOUT", ":0/");
    client.check("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range/");
    client.check("CLIENT UNBLOCK 2 foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR/");
    let error = "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP./";
    client.check("CLIENT UNBLOCK 2 error x", error);
}

#[test]
fn only_replies_that_are_wanted_are_promised() {
    let mut client = Client::new();
    client.check("CLIENT REPLY on", "+OK/");
    client.check("CLIENT REPLY OFF", "");
    client.check("CLIENT REPLY SKIP", "");
    client.check("CLIENT REPLY foo", "-ERR syntax error/");
}
