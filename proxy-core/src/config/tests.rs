//! Loading as an operator sees it: layers, places and redaction. Kind: driver.

use std::io::Write;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Router {
    #[serde(default)]
    pool: Pool,
    password: Option<Secret>,
    #[serde(default)]
    nodes: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Pool {
    size: u32,
    min: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self { size: 20, min: 0 }
    }
}

impl Settings for Router {
    fn check(&self) -> Result<(), Invalid> {
        let Pool { size, min } = self.pool;
        if min > size {
            return Err(Invalid::new("pool.min", format!("is above pool.size ({size}): lower it")));
        }
        Ok(())
    }
}

struct Case {
    file: tempfile::NamedTempFile,
    env: Vec<(&'static str, &'static str)>,
    flags: Vec<Override>,
}

fn file(text: &str) -> Case {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("it can be written");
    Case { file, env: Vec::new(), flags: Vec::new() }
}

impl Case {
    fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn flag(mut self, flag: &'static str, key: &'static str, value: &str) -> Self {
        self.flags.push(Override::new(flag, key, value));
        self
    }

    fn load(&self) -> Result<Loaded<Router>, Fault> {
        let env = self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sources::new("pg-router", Some(self.file.path().to_owned()), self.flags.clone())
            .with_environment(env)
            .load()
    }

    #[track_caller]
    fn loads(&self) -> Loaded<Router> {
        self.load().expect("the configuration is valid")
    }

    /// The fault, with the name of the temporary file as `FILE`.
    #[track_caller]
    fn check_refused(&self, text: &str) {
        let fault = self.load().expect_err("it must be refused").to_string();
        assert_eq!(fault.replace(&*self.file.path().to_string_lossy(), "FILE"), text);
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let case = file("[pool]\nsize = 1\nmin = 1\n");
    assert_eq!(case.loads().service.pool.size, 1);
    let case = case.env("PG_ROUTER_POOL__SIZE", "2");
    assert_eq!(case.loads().service.pool.size, 2);
    let case = case.flag("--pool-size", "pool.size", "3");
    assert_eq!(case.loads().service.pool.size, 3);
    assert_eq!(case.loads().service.pool.min, 1);
}

#[test]
fn the_environment_alone_is_enough() {
    let env = [("R_ADMIN__LISTEN", "127.0.0.1:1"), ("R_NODES", "a:5432,b:5432")];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let loaded: Loaded<Router> =
        Sources::new("r", None, Vec::new()).with_environment(env).load().expect("it is valid");
    assert_eq!(loaded.service.nodes, ["a:5432", "b:5432"]);
    assert!(loaded.core.admin.listen.is_some());
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand() {
    file("[pool]\nsiez = 1\n").check_refused("FILE:2: unknown key `pool.siez`: did you mean `size`?");
    file("\nnode = 1\n").check_refused("FILE:2: unknown key `node`: did you mean `nodes`?");
    file("[logg]\n").check_refused("FILE:1: unknown key `logg`: did you mean `log`?");
    file("[log]\nlevle = \"x\"\n").check_refused("FILE:2: unknown key `log.levle`: did you mean `level`?");
    file("").env("PG_ROUTER_POOL__SISE", "1").check_refused(
        "environment variable PG_ROUTER_POOL__SISE: unknown key `pool.sise`: did you mean `size`?",
    );
}

#[test]
fn contradictions_name_the_place_of_the_key() {
    let both = "`pool.min`: is above pool.size (5): lower it";
    file("[pool]\nsize = 5\nmin = 9\n").check_refused(&format!("FILE:3: {both}"));
    file("[pool]\nsize = 5\n")
        .env("PG_ROUTER_POOL__MIN", "9")
        .check_refused(&format!("environment variable PG_ROUTER_POOL__MIN: {both}"));
}

#[test]
fn a_flag_that_is_wrong_is_named() {
    file("")
        .flag("--size", "pool.size", "-1")
        .check_refused("flag --size: `pool.size` = \"-1\": expected a whole number from 0 to 4294967295");
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let fault =
        file("[log]\nlevel = \"proxy_core=loud\"\n").load().expect_err("loud is no level").to_string();
    assert!(fault.contains(":2: `log.level`: ") && fault.contains("expected error, warn"), "{fault}");
}

#[test]
fn an_address_without_a_port_is_refused() {
    file("admin.listen = \"1.2.3.4\"").check_refused(
        "FILE:1: `admin.listen` = \"1.2.3.4\": expected an IP address with its port, such as \"127.0.0.1:9187\"",
    );
}

#[test]
fn what_kubernetes_puts_into_the_environment_is_no_setting() {
    file("")
        .env("PG_ROUTER_SERVICE_HOST", "10.0.0.1")
        .env("PG_ROUTER_SERVICE_PORT_PG", "6432")
        .env("PG_ROUTER_PORT", "tcp://10.0.0.1:6432")
        .env("PG_ROUTER_PORT_6432_TCP_ADDR", "10.0.0.1")
        .env("PG_ROUTER_CONFIG", "/etc/pg-router.toml")
        .env("PATH", "/bin")
        .loads();
}

#[test]
fn the_effective_configuration_hides_secrets_and_reads_back() {
    let loaded = file("password = \"hunter2\"\nlog.format = \"json\"\n").loads();
    let effective = loaded.effective().expect("it can be written");
    assert!(!effective.contains("hunter2") && effective.contains("password = \"***\""), "{effective}");
    assert_eq!(file(&effective).loads().core, loaded.core);
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn a_secret_from_a_file_is_watched_with_it() {
    let secret = file("hunter2\n");
    let path = secret.file.path().to_str().expect("temporary paths are UTF-8");
    let case = file(&format!("password_file = {path:?}\n"));
    let loaded = case.loads();
    assert_eq!(loaded.service.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(loaded.files, [case.file.path(), secret.file.path()]);
}

#[test]
fn a_secret_file_in_the_environment_wins_over_the_file() {
    let secret = file("from env");
    let path: &'static str = Box::leak(secret.file.path().display().to_string().into_boxed_str());
    let case = file("password = \"from file\"\n").env("PG_ROUTER_PASSWORD_FILE", path);
    assert_eq!(case.loads().service.password.as_ref().map(Secret::expose), Some("from env"));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let sources = Sources::new("r", Some("/nonexistent.toml".into()), Vec::new());
    let fault = sources.load::<Router>().expect_err("there is no such file").to_string();
    assert!(fault.starts_with("can't read the configuration /nonexistent.toml: "), "{fault}");
}
