//! The scripts that clients have shown us, so that a new master can be taught them: Redis does not promise that a
//! replica has them. Kind: pure.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

/// Scripts that are remembered, and bytes of them; Django, Celery and redis-py together have some dozen of 1 KiB.
const MOST: (usize, usize) = (256, 1024 * 1024);

/// Bodies of scripts, the oldest first.
#[derive(Debug, Default)]
pub struct Scripts {
    known: HashSet<Bytes>,
    order: VecDeque<Bytes>,
    bytes: usize,
}

impl Scripts {
    /// Remembers the body of an `EVAL` or a `SCRIPT LOAD`; the oldest ones make room for it.
    pub fn remember(&mut self, body: &[u8]) {
        if self.known.contains(body) || body.len() > MOST.1 {
            return;
        }
        let body = Bytes::copy_from_slice(body);
        self.bytes += body.len();
        self.known.insert(body.clone());
        self.order.push_back(body);
        while self.order.len() > MOST.0 || self.bytes > MOST.1 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
    }

    /// `SCRIPT FLUSH`: whoever says it wants them gone.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// All of them, the oldest first.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.order.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_remembered_once_in_order() {
        let mut scripts = Scripts::default();
        [b"b", b"a", b"b"].into_iter().for_each(|body| scripts.remember(body));
        assert_eq!(scripts.bodies(), [&b"b"[..], b"a"]);
        scripts.forget();
        assert!(scripts.bodies().is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let mut scripts = Scripts::default();
        (0..MOST.0 + 10).for_each(|i| scripts.remember(i.to_string().as_bytes()));
        assert_eq!((scripts.bodies().len(), scripts.bodies()[0].as_ref()), (MOST.0, &b"10"[..]));
        scripts.remember(&vec![b'x'; MOST.1 - 10]);
        assert!(scripts.bytes <= MOST.1);
        scripts.remember(&vec![b'x'; MOST.1 + 1]);
        assert!(scripts.bytes <= MOST.1, "one that is too large pushes nobody out");
    }
}
