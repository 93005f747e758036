//! How much a request matters, told by its method, path, query, cookies and browser. Kind: pure.
//!
//! A profile has dozens of paths, and each request is held against them. So its segments are looked up once in a
//! dictionary of the words that stand in any of them, which leaves a bit for each word; a path whose words are not all
//! there is passed over by one comparison.

use std::collections::HashMap;

use memchr::memmem::Finder;

use crate::config::{Config, PathPattern, Rule};
use crate::queue::Class;
use crate::wire::{Name, RequestHead, cookie};

use super::route::Methods;

/// What is looked at of `User-Agent`; the rest says nothing new.
const AGENT: usize = 256;

/// All classes with their rules.
#[derive(Debug, Default)]
pub struct Classes {
    /// In the order in which they are tried, which is that of importance.
    rules: Vec<(Class, Compiled)>,
    fallback: Class,
    words: HashMap<Box<[u8]>, u64>,
    by_path: bool,
}

#[derive(Debug)]
struct Compiled {
    methods: Methods,
    paths: Vec<(u64, PathPattern)>,
    cookies: Vec<Box<[u8]>>,
    query: Vec<Box<[u8]>>,
    agents: Vec<Finder<'static>>,
}

/// What is worked out about a request once, when the first rule asks.
#[derive(Default)]
struct Known {
    words: u64,
    agent: Option<([u8; AGENT], usize)>,
}

impl Classes {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let rank = |index: usize| u8::try_from(index).ok().and_then(Class::new).unwrap_or_default();
        let mut classes = Self { fallback: rank(config.fallback_class()), ..Self::default() };
        for (index, class) in config.classes.iter().enumerate() {
            for rule in &class.rules {
                let compiled = classes.compile(rule);
                classes.by_path |= !compiled.paths.is_empty();
                classes.rules.push((rank(index), compiled));
            }
        }
        classes
    }

    fn compile(&mut self, rule: &Rule) -> Compiled {
        let bytes = |words: &[String]| words.iter().map(|word| word.as_bytes().into()).collect();
        let finder = |text: &String| Finder::new(text.to_ascii_lowercase().as_bytes()).into_owned();
        Compiled {
            methods: Methods::new(&rule.methods),
            paths: rule.paths.iter().map(|path| (self.mask(path), path.clone())).collect(),
            cookies: bytes(&rule.cookies),
            query: bytes(&rule.query),
            agents: rule.user_agents.iter().map(finder).collect(),
        }
    }

    /// The bits of a pattern's words; words beyond the 64th have none, and are found out by the pattern itself.
    fn mask(&mut self, path: &PathPattern) -> u64 {
        let mut mask = 0;
        for word in path.words() {
            let next = 1_u64.checked_shl(u32::try_from(self.words.len()).unwrap_or(u32::MAX)).unwrap_or(0);
            mask |= *self.words.entry(word.as_bytes().into()).or_insert(next);
        }
        mask
    }

    /// The class of a request with this normalised path.
    pub fn of(&self, head: &RequestHead, path: &[u8]) -> Class {
        let words = if self.by_path { self.words_of(path) } else { 0 };
        let mut known = Known { words, agent: None };
        let found = self.rules.iter().find(|(_, rule)| rule.takes(head, path, &mut known));
        found.map_or(self.fallback, |(class, _)| *class)
    }

    fn words_of(&self, path: &[u8]) -> u64 {
        let segments = path.get(1..).unwrap_or_default().split(|byte| *byte == b'/');
        segments.fold(0, |bits, segment| bits | self.words.get(segment).copied().unwrap_or(0))
    }
}

impl Compiled {
    /// What is cheapest to know is asked first.
    fn takes(&self, head: &RequestHead, path: &[u8], known: &mut Known) -> bool {
        self.methods.has(head.method(), head.method_text())
            && self.takes_path(path, known.words)
            && self.takes_query(head.query())
            && self.takes_cookies(head)
            && self.takes_agent(head, known)
    }

    fn takes_path(&self, path: &[u8], words: u64) -> bool {
        let mut paths = self.paths.iter();
        self.paths.is_empty() || paths.any(|(mask, pattern)| mask & !words == 0 && pattern.matches(path))
    }

    fn takes_query(&self, query: Option<&[u8]>) -> bool {
        if self.query.is_empty() {
            return true;
        }
        let mut names = query.unwrap_or_default().split(|byte| *byte == b'&').map(name_of);
        names.any(|name| self.query.iter().any(|known| **known == *name))
    }

    fn takes_cookies(&self, head: &RequestHead) -> bool {
        let known = |name: &[u8]| self.cookies.iter().any(|known| **known == *name);
        self.cookies.is_empty() || cookie::all(head).any(|(name, value)| !value.is_empty() && known(name))
    }

    fn takes_agent(&self, head: &RequestHead, known: &mut Known) -> bool {
        if self.agents.is_empty() {
            return true;
        }
        let (text, len) = known.agent.get_or_insert_with(|| lower(head.known(Name::UserAgent)));
        self.agents.iter().any(|agent| agent.find(&text[..*len]).is_some())
    }
}

fn name_of(parameter: &[u8]) -> &[u8] {
    parameter.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn lower(text: Option<&[u8]>) -> ([u8; AGENT], usize) {
    let mut lower = [0; AGENT];
    let text = text.unwrap_or_default();
    let len = text.len().min(AGENT);
    lower[..len].copy_from_slice(&text[..len]);
    lower[..len].make_ascii_lowercase();
    (lower, len)
}

#[cfg(test)]
mod tests;
