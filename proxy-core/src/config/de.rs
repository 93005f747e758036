//! From the tree to the types of a configuration. Kind: pure.
//!
//! A serde deserializer of our own, for three reasons: a fault names the place where the value was written,
//! be it a line, a variable or a flag; a text from the environment becomes what its key wants (a number, a list,
//! a table); and a secret `foo` may be given as `foo_file`. The reader of such files is an argument.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::Fault;
use super::secret::SECRET;
use super::secret_file::{ReadFile, with_secret_files};
use super::tree::{Node, Table, Value};

/// Turns a tree into a configuration.
pub(crate) fn from_table<T: de::DeserializeOwned>(table: Table, read: ReadFile<'_>) -> Result<T, Fault> {
    T::deserialize(TopLevel { table, read })
}

struct TopLevel<'a> {
    table: Table,
    read: ReadFile<'a>,
}

impl<'de> de::Deserializer<'de> for TopLevel<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Entries::new(self.table, self.read))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let table = with_secret_files(self.table, fields, self.read)?;
        visitor.visit_map(Entries::new(table, self.read))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Item<'a> {
    node: Node,
    read: ReadFile<'a>,
}

macro_rules! integers {
    ($($method:ident $type:ty => $visit:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.node.number::<$type>()?)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Item<'_> {
    type Error = Fault;

    /// Only types that take several shapes ask like this (untagged enums): a raw text stays a text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Raw(text) | Value::Text(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(answer) => visitor.visit_bool(answer),
            Value::List(items) => visitor.visit_seq(Elements::new(items, self.read)),
            Value::Table(table) => visitor.visit_map(Entries::new(table, self.read)),
            Value::Contents(_) => Err(Fault::value("only a secret may come from a file")),
        }
    }

    integers! {
        deserialize_i8 i8 => visit_i8, deserialize_i16 i16 => visit_i16,
        deserialize_i32 i32 => visit_i32, deserialize_i64 i64 => visit_i64,
        deserialize_u8 u8 => visit_u8, deserialize_u16 u16 => visit_u16,
        deserialize_u32 u32 => visit_u32, deserialize_u64 u64 => visit_u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(self.node.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(self.node.float()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.node.boolean()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.node.text(&visitor)?;
        visitor.visit_string(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name != SECRET {
            return visitor.visit_newtype_struct(self);
        }
        if let Value::Contents(secret) = self.node.value {
            self.node.value = Value::Text(secret);
        }
        visitor.visit_newtype_struct(self).map_err(Fault::secret)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let read = self.read;
        visitor.visit_seq(Elements::new(self.node.list().map_err(Fault::secret)?, read))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let read = self.read;
        visitor.visit_map(Entries::new(self.node.table()?, read))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let read = self.read;
        TopLevel { table: self.node.table()?, read }.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word = self.node.text(&"a word")?;
        visitor.visit_enum(word.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The entries of a table, as serde walks them.
struct Entries<'a> {
    entries: std::collections::btree_map::IntoIter<String, Node>,
    next: Option<(String, Node)>,
    read: ReadFile<'a>,
}

impl<'a> Entries<'a> {
    fn new(table: Table, read: ReadFile<'a>) -> Self {
        Self { entries: table.into_iter(), next: None, read }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        let found =
            seed.deserialize(key.as_str().into_deserializer()).map_err(|f: Fault| f.at(&node.origin))?;
        self.next = Some((key, node));
        Ok(Some(found))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self.next.take().ok_or_else(|| Fault::value("a value without a key"))?;
        let (origin, shown) = (node.origin.clone(), node.value.shown());
        seed.deserialize(Item { node, read: self.read })
            .map_err(|fault| fault.showing(shown).at(&origin).under(&key))
    }
}

/// The elements of a list, as serde walks them.
struct Elements<'a> {
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
    read: ReadFile<'a>,
}

impl<'a> Elements<'a> {
    fn new(items: Vec<Node>, read: ReadFile<'a>) -> Self {
        Self { items: items.into_iter().enumerate(), read }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let (origin, shown) = (node.origin.clone(), node.value.shown());
        seed.deserialize(Item { node, read: self.read })
            .map(Some)
            .map_err(|fault| fault.showing(shown).at(&origin).element(index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Origin;
    use super::super::secret::Secret;
    use super::super::tree;
    use super::super::units::{Size, duration};
    use super::*;
    use serde::Deserialize;
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        size: u16,
        ratio: f64,
        fast: bool,
        mode: Mode,
        nodes: Vec<String>,
        #[serde(with = "duration")]
        wait: Duration,
        cap: Size,
        users: Vec<User>,
        password: Option<Secret>,
    }

    impl Default for Sample {
        fn default() -> Self {
            let (wait, cap) = (Duration::ZERO, Size::new(0));
            let (nodes, users, password) = (Vec::new(), Vec::new(), None);
            Self { size: 0, ratio: 0.0, fast: false, mode: Mode::Session, nodes, wait, cap, users, password }
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Session,
        Transaction,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct User {
        name: String,
        password: Secret,
    }

    fn read(path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/run/secret") => Ok("hunter2\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn from_file(text: &str) -> Result<Sample, Fault> {
        from_table(tree::parse(Path::new("r.toml"), text)?, &read)
    }

    fn from_env(key: &str, text: &str) -> Result<Sample, Fault> {
        let node = Node { value: Value::Raw(text.into()), origin: Origin::Env("R_KEY".into()) };
        from_table(Table::from([(key.to_owned(), node)]), &read)
    }

    /// File and environment say the same.
    #[track_caller]
    fn check(line: &str, key: &str, raw: &str, expected: Sample) {
        assert_eq!(from_file(line).expect("the file is valid"), expected);
        assert_eq!(from_env(key, raw).expect("the environment is valid"), expected);
    }

    #[track_caller]
    fn refused(result: Result<Sample, Fault>, text: &str) {
        assert_eq!(result.expect_err("it must be refused").to_string(), text);
    }

    #[test]
    fn a_raw_text_becomes_what_its_key_wants() {
        check("size = 7", "size", "7", Sample { size: 7, ..Sample::default() });
        check("ratio = 0.5", "ratio", "0.5", Sample { ratio: 0.5, ..Sample::default() });
        check("fast = true", "fast", "true", Sample { fast: true, ..Sample::default() });
        let transaction = Sample { mode: Mode::Transaction, ..Sample::default() };
        check("mode = \"transaction\"", "mode", "transaction", transaction);
        let wait = Sample { wait: Duration::from_millis(250), ..Sample::default() };
        check("wait = \"250ms\"", "wait", "250ms", wait);
        check("cap = \"64KiB\"", "cap", "64KiB", Sample { cap: Size::new(65536), ..Sample::default() });
    }

    #[test]
    fn lists_come_inline_or_separated_by_commas() {
        let nodes = || Sample { nodes: vec!["a:1".into(), "b:2".into()], ..Sample::default() };
        check(r#"nodes = ["a:1", "b:2"]"#, "nodes", r#"["a:1", "b:2"]"#, nodes());
        check(r#"nodes = ["a:1", "b:2"]"#, "nodes", "a:1, b:2,", nodes());
    }

    #[test]
    fn lists_of_tables_come_inline_and_read_their_secret_files() {
        let users = r#"[{ name = "bench", password_file = "/run/secret" }]"#;
        let user = User { name: "bench".into(), password: Secret::new("hunter2") };
        check(&format!("users = {users}"), "users", users, Sample { users: vec![user], ..Sample::default() });
    }

    #[test]
    fn a_secret_file_takes_the_place_of_the_secret() {
        let password = || Sample { password: Some(Secret::new("hunter2")), ..Sample::default() };
        check("password_file = \"/run/secret\"", "password_file", "/run/secret", password());
        check("password = \"hunter2\"", "password", "hunter2", password());
    }

    #[test]
    fn bad_values_name_place_key_value_and_remedy() {
        refused(
            from_file("size = 70000"),
            "r.toml:1: `size` = 70000: expected a whole number from 0 to 65535",
        );
        refused(
            from_env("size", "many"),
            "environment variable R_KEY: `size` = \"many\": expected a whole number from 0 to 65535",
        );
        refused(
            from_file("\nwait = \"5\""),
            "r.toml:2: `wait` = \"5\": expected a duration with its unit, such as \"250ms\", \"5s\" or \"1h\"",
        );
        refused(from_file("mode = \"sesion\""), "r.toml:1: `mode` = \"sesion\": did you mean `session`?");
        refused(from_file("nodes = [\"a\", 2]"), "r.toml:1: `nodes[1]` = 2: expected a string, in quotes");
        refused(
            from_file("[[users]]\nname = \"x\""),
            "r.toml:1: key `users[0].password` is missing: give it a value",
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        refused(from_file("\n\nsise = 1"), "r.toml:3: unknown key `sise`: did you mean `size`?");
        refused(
            from_file("[[users]]\nname = \"x\"\npass = \"y\""),
            "r.toml:3: unknown key `users[0].pass`: did you mean `password`?",
        );
    }

    #[test]
    fn a_bad_secret_is_never_told() {
        refused(from_file("password = 12345"), "r.toml:1: `password`: expected a secret text, in quotes");
        let broken = from_env("users", r#"[{ name = "x", password = "hunter2 }]"#);
        refused(broken, "environment variable R_KEY: `users`: not a valid inline TOML value");
    }

    #[test]
    fn a_secret_and_its_file_in_one_layer_contradict_each_other() {
        refused(
            from_file("password = \"a\"\npassword_file = \"/run/secret\""),
            "r.toml:2: `password_file`: is given beside the value itself: remove one of the two",
        );
    }

    #[test]
    fn an_unreadable_secret_file_is_told() {
        refused(
            from_file("password_file = \"/none\""),
            "r.toml:1: `password_file`: can't read \"/none\": entity not found",
        );
    }

    #[test]
    fn only_secrets_come_from_files() {
        let fault = from_file("size_file = \"/run/secret\"").expect_err("a size is no secret");
        assert!(!fault.to_string().contains("hunter2"));
    }
}
