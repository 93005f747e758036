//! Conversations of a client with a connection of its own, written as the protocol. Kind: pure.

use super::*;
use crate::command::find;
use crate::wire::{Args, ReplyFramer};

mod losses;
mod replies;
mod worlds;

/// A request line as its array: `SET key value`.
fn request(line: &str) -> Vec<u8> {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut request = Vec::new();
    put_request(&mut request, &args);
    request
}

/// Requests, as they are seen on the wire.
fn lines(bytes: &[u8]) -> String {
    let mut framer = crate::wire::RequestFramer::default();
    let (mut rest, mut lines) = (bytes, Vec::new());
    while !rest.is_empty() {
        let Ok(crate::wire::Framed::Whole(span)) = framer.next(rest, &crate::wire::Limits::default()) else {
            panic!("half a request: {rest:?}")
        };
        let args: Vec<_> = Args::new(&rest[..span.len]).map(String::from_utf8_lossy).collect();
        lines.push(args.join(" "));
        rest = &rest[span.len..];
    }
    lines.join("; ")
}

/// Text in which a slash stands for CRLF.
fn wire(text: &str) -> Vec<u8> {
    text.replace('/', "\r\n").into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "/")
}

/// A client with its connection, and what happens to it.
struct Talk {
    pinned: Pinned,
    /// What was ordered upstream and not looked at.
    sent: Vec<u8>,
    /// What the client got and was not looked at.
    got: Vec<u8>,
}

impl Talk {
    fn new(resp: Resp) -> Self {
        Self { pinned: Pinned::new(resp, 0, Barrier::Ping), sent: Vec::new(), got: Vec::new() }
    }

    fn v2() -> Self {
        Self::new(Resp::V2)
    }

    fn v3() -> Self {
        Self::new(Resp::V3)
    }

    fn order(&mut self, line: &str) -> Order {
        let request = request(line);
        let mut args = Args::new(&request);
        let name = args.next().unwrap_or_default();
        let command = find(name, args.next());
        self.pinned.request(command, &request, &mut self.got)
    }

    /// The client sends requests, each of which is forwarded, changed or answered.
    #[track_caller]
    fn says(&mut self, lines: &str) -> &mut Self {
        for line in lines.split("; ") {
            match self.order(line) {
                Order::Forward => self.sent.extend(request(line)),
                Order::Send(bytes) => self.sent.extend(bytes),
                Order::Answered => {}
                other => panic!("{line}: {other:?}"),
            }
        }
        self
    }

    /// So much was sent upstream since the last look.
    #[track_caller]
    fn sends(&mut self, expected: &str) -> &mut Self {
        assert_eq!(lines(&std::mem::take(&mut self.sent)), expected);
        self
    }

    fn deliver(&mut self, reply: &[u8]) -> (usize, Deliver) {
        let advance = ReplyFramer::default().advance(reply).expect("a reply");
        let kind = advance.end.expect("a whole reply");
        let whole = &reply[..advance.used];
        let deliver = self.pinned.reply(kind, &whole[..whole.len().min(512)]);
        match &deliver {
            Deliver::ToClient => self.got.extend_from_slice(whole),
            Deliver::Instead(bytes) => self.got.extend_from_slice(bytes),
            Deliver::Swallow | Deliver::Replay | Deliver::Stray => {}
        }
        self.pinned.answer(&mut self.got);
        (advance.used, deliver)
    }

    /// The server sends replies, all of which are passed on, changed or swallowed.
    #[track_caller]
    fn hears(&mut self, replies: &str) -> &mut Self {
        let replies = wire(replies);
        let mut rest = &replies[..];
        while !rest.is_empty() {
            let (used, deliver) = self.deliver(rest);
            assert!(!matches!(deliver, Deliver::Replay | Deliver::Stray), "{}: {deliver:?}", text(rest));
            rest = &rest[used..];
        }
        self
    }

    /// One reply, and what becomes of it.
    #[track_caller]
    fn judges(&mut self, reply: &str, expected: Deliver) -> &mut Self {
        assert_eq!(self.deliver(&wire(reply)).1, expected, "{reply}");
        self
    }

    /// The client got this since the last look.
    #[track_caller]
    fn tells(&mut self, expected: &str) -> &mut Self {
        assert_eq!(text(&std::mem::take(&mut self.got)), expected);
        self
    }

    /// The connection is lost; the last of these requests never left.
    fn loses(&mut self, unsent: usize) -> Recovery {
        self.sent.clear();
        let recovery = self.pinned.lost(unsent, &mut self.got);
        self.sent.extend_from_slice(&recovery.send);
        recovery
    }

    /// The connection is lost; all that was ordered had left, and there is a way to go on.
    #[track_caller]
    fn recovers(&mut self, expected: &str) -> &mut Self {
        let recovery = self.loses(0);
        assert!(!recovery.cut, "the client is cut");
        self.sends(expected)
    }

    #[track_caller]
    fn is_clean(&mut self) -> &mut Self {
        assert!(self.pinned.is_clean(), "{:?}", self.pinned);
        self
    }

    #[track_caller]
    fn is_busy(&mut self) -> &mut Self {
        assert!(!self.pinned.is_done(), "{:?}", self.pinned);
        self
    }
}
