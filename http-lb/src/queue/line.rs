//! The line of one class: clients in turn, each client's requests in order. Kind: pure.
//!
//! Everybody who waits has a lane with its requests in it. Lanes stand in a ring: who is served goes to its end, and so
//! does who comes anew. So between two requests of one client every other client is served at most once, however many
//! requests one of them has; and where everybody has one request, the line is first come, first served. A lane exists only
//! while somebody waits in it: there are never more lanes than requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::ticket::ClientKey;

/// Who waits in the line, by their numbers. A number is never used again; later ones are greater.
#[derive(Debug)]
pub(super) struct Line<W> {
    waiting: BTreeMap<u64, (ClientKey, W)>,
    lanes: HashMap<ClientKey, Lane>,
    /// The first of every lane, by the lane's place in the ring.
    heads: BTreeMap<i64, u64>,
    /// Lanes of two and more, by their length.
    long: BTreeSet<(usize, ClientKey)>,
    end: i64,
    front: i64,
}

#[derive(Debug)]
struct Lane {
    place: i64,
    order: VecDeque<u64>,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            lanes: HashMap::new(),
            heads: BTreeMap::new(),
            long: BTreeSet::new(),
            end: 0,
            front: -1,
        }
    }
}

impl<W> Line<W> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many requests of this client wait.
    pub(super) fn len_of(&self, client: ClientKey) -> usize {
        self.lanes.get(&client).map_or(0, |lane| lane.order.len())
    }

    /// The number of the one that came first.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    /// To the end of its client's lane.
    pub(super) fn join(&mut self, number: u64, client: ClientKey, waiter: W) {
        let place = self.end;
        let lane = self.lanes.entry(client).or_insert_with(|| Lane { place, order: VecDeque::new() });
        lane.order.push_back(number);
        if lane.order.len() == 1 {
            self.end += 1;
            self.heads.insert(place, number);
        }
        self.grown(client);
        self.waiting.insert(number, (client, waiter));
    }

    /// Before everybody else: it was at its turn already.
    pub(super) fn rejoin(&mut self, number: u64, client: ClientKey, waiter: W) {
        let place = self.front;
        self.front -= 1;
        let lane = self.lanes.entry(client).or_insert_with(|| Lane { place, order: VecDeque::new() });
        self.heads.remove(&lane.place);
        lane.place = place;
        lane.order.push_front(number);
        self.heads.insert(place, number);
        self.grown(client);
        self.waiting.insert(number, (client, waiter));
    }

    /// It is this one's turn: its lane goes to the end of the ring.
    pub(super) fn serve(&mut self, number: u64) -> Option<W> {
        self.remove(number, true)
    }

    /// This one waits no more; its lane keeps its place.
    pub(super) fn leave(&mut self, number: u64) -> Option<W> {
        self.remove(number, false)
    }

    /// The first of those that `fits` says yes to, in their order, with what it says.
    pub(super) fn first<F>(&self, mut fits: impl FnMut(&W) -> Option<F>) -> Option<(u64, F)> {
        let mut ask = |number: &u64| {
            let (_, waiter) = self.waiting.get(number)?;
            fits(waiter).map(|found| (*number, found))
        };
        // Nearly always the first head will do. Deeper ones are asked where all heads want something else.
        let head = self.heads.values().find_map(&mut ask);
        if head.is_some() || self.long.is_empty() {
            return head;
        }
        self.waiting.keys().find_map(ask)
    }

    /// Whom to send away, of those who `may` be, when there is no room for one more of `client`: the last one of whoever
    /// has the most waiting, if that is more than `client` has with this one; in a tie, nobody.
    pub(super) fn greediest(&self, client: ClientKey, may: impl Fn(&W) -> bool) -> Option<u64> {
        let (length, greedy) = *self.long.last()?;
        let more = length > self.len_of(client) + 1;
        more.then(|| self.last_of(greedy, may)).flatten()
    }

    /// Whom to send away, of those who `may` be, in favour of a higher class: the last one of whoever has the most
    /// waiting, or the newest of all.
    pub(super) fn least(&self, may: impl Fn(&W) -> bool) -> Option<u64> {
        let greedy = self.long.last().and_then(|(_, client)| self.last_of(*client, &may));
        let newest =
            || self.waiting.iter().rev().find(|(_, (_, waiter))| may(waiter)).map(|(number, _)| *number);
        greedy.or_else(newest)
    }

    fn last_of(&self, client: ClientKey, may: impl Fn(&W) -> bool) -> Option<u64> {
        let allowed = |number: &u64| self.waiting.get(number).is_some_and(|(_, waiter)| may(waiter));
        self.lanes.get(&client)?.order.iter().rev().copied().find(allowed)
    }

    fn remove(&mut self, number: u64, served: bool) -> Option<W> {
        let (client, waiter) = self.waiting.remove(&number)?;
        let lane = self.lanes.get_mut(&client)?;
        let at = lane.order.iter().position(|other| *other == number)?;
        lane.order.remove(at);
        let length = lane.order.len();
        if at == 0 {
            self.heads.remove(&lane.place);
            if served {
                lane.place = self.end;
                self.end += 1;
            }
            if let Some(next) = lane.order.front() {
                self.heads.insert(lane.place, *next);
            }
        }
        if length == 0 {
            self.lanes.remove(&client);
        }
        self.shrunk(client, length);
        Some(waiter)
    }

    fn grown(&mut self, client: ClientKey) {
        let length = self.len_of(client);
        if length >= 2 {
            self.long.remove(&(length - 1, client));
            self.long.insert((length, client));
        }
    }

    fn shrunk(&mut self, client: ClientKey, length: usize) {
        if length >= 1 {
            self.long.remove(&(length + 1, client));
        }
        if length >= 2 {
            self.long.insert((length, client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of requests `client: number`, which come in this order.
    fn line(requests: &[(u64, u64)]) -> Line<()> {
        let mut line = Line::default();
        requests.iter().for_each(|&(client, number)| line.join(number, ClientKey::new(client), ()));
        line
    }

    fn next(line: &mut Line<()>) -> Option<u64> {
        let (number, ()) = line.first(|()| Some(()))?;
        line.serve(number);
        Some(number)
    }

    #[track_caller]
    fn check(mut line: Line<()>, expected: &[u64]) {
        let served: Vec<_> = std::iter::from_fn(|| next(&mut line)).collect();
        assert_eq!(served, expected);
        assert!(line.is_empty() && line.lanes.is_empty() && line.heads.is_empty() && line.long.is_empty());
    }

    #[test]
    fn who_has_one_request_each_is_served_in_order() {
        check(line(&[(7, 1), (3, 2), (5, 3)]), &[1, 2, 3]);
    }

    #[test]
    fn clients_take_turns_and_their_requests_stay_in_order() {
        check(line(&[(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (2, 6)]), &[1, 4, 5, 2, 6, 3]);
    }

    #[test]
    fn newcomers_do_not_overtake_who_has_been_in_the_ring() {
        let mut line = line(&[(1, 1), (1, 2), (2, 3)]);
        assert_eq!(next(&mut line), Some(1));
        line.join(4, ClientKey::new(4), ());
        line.join(5, ClientKey::new(5), ());
        check(line, &[3, 2, 4, 5]);
    }

    #[test]
    fn who_leaves_costs_its_client_no_place() {
        let mut line = line(&[(1, 1), (1, 2), (2, 3)]);
        assert_eq!(line.leave(1), Some(()));
        assert_eq!(line.leave(1), None);
        check(line, &[2, 3]);
    }

    #[test]
    fn who_asks_again_is_the_next() {
        let mut line = line(&[(1, 1), (2, 2), (2, 3)]);
        line.rejoin(4, ClientKey::new(2), ());
        line.rejoin(5, ClientKey::new(9), ());
        check(line, &[5, 4, 1, 2, 3]);
    }

    #[test]
    fn the_deep_are_found_where_no_head_fits() {
        let line = line(&[(1, 1), (1, 2), (1, 3), (2, 4)]);
        let mut nth = 0;
        let third = line.first(|()| {
            nth += 1;
            (nth == 5).then_some(())
        });
        assert_eq!(third, Some((3, ())), "the heads 1 and 4, then all in order");
    }

    #[test]
    fn who_has_most_is_sent_away_first() {
        let mut line = line(&[(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6)]);
        let greediest = |line: &Line<()>, client| line.greediest(ClientKey::new(client), |()| true);
        let least = |line: &Line<()>| line.least(|()| true);
        assert_eq!((least(&line), greediest(&line, 3), greediest(&line, 1)), (Some(3), Some(3), None));
        assert_eq!((greediest(&line, 2), greediest(&line, 9)), (None, Some(3)));
        assert_eq!(line.least(|()| false), None, "who may not be sent away stays");
        line.leave(3);
        assert_eq!(least(&line), Some(5), "of equals whoever, but the last one of it");
        line.leave(5);
        line.leave(2);
        assert_eq!((least(&line), greediest(&line, 9)), (Some(6), None), "the newest of all");
        assert_eq!(line.oldest(), Some(1));
    }
}
