//! The status: named sections, each told by who knows it. Kind: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

type Tell = Arc<dyn Fn() -> Value + Send + Sync>;

/// The sections of `/status`. Clones share them.
#[derive(Clone, Default)]
pub struct Status {
    sections: Arc<Mutex<BTreeMap<&'static str, Tell>>>,
}

impl Status {
    /// Adds a section, or replaces the one of that name. `tell` runs on the control thread at each request:
    /// let it read, not wait.
    pub fn section(&self, name: &'static str, tell: impl Fn() -> Value + Send + Sync + 'static) {
        self.lock().insert(name, Arc::new(tell));
    }

    /// All sections as one object.
    pub fn tell(&self) -> Map<String, Value> {
        // The lock isn't held while they tell, so that a section may be added meanwhile.
        let sections = self.lock().clone();
        sections.iter().map(|(name, tell)| ((*name).to_owned(), tell())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Tell>> {
        // A map of functions is never left half changed by a panic.
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_are_told_by_name() {
        let status = Status::default();
        status.section("topology", || json!({ "epoch": 3 }));
        status.section("pool", || json!([]));
        assert_eq!(Value::Object(status.tell()), json!({ "pool": [], "topology": { "epoch": 3 } }));
    }
}
