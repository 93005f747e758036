//! Whole lives of a small service, in paused time. Kind: driver.

use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::Invalid;
use crate::drain::Presence;

/// A service that does what its greeting says.
#[derive(Debug)]
pub(super) struct Probe {
    config: Arc<ProbeConfig>,
    seen: Vec<String>,
    stay: Option<Presence>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ProbeArgs {
    /// What to say
    #[arg(long)]
    greeting: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProbeConfig {
    greeting: String,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { greeting: "hello".into() }
    }
}

impl Settings for ProbeConfig {
    fn check(&self) -> Result<(), Invalid> {
        if self.greeting.is_empty() { Err(Invalid::new("greeting", "say something")) } else { Ok(()) }
    }
}

/// What the probes of one test have seen: tests run side by side, so each has its own greeting as its key.
static SEEN: Mutex<Vec<(String, Vec<String>)>> = Mutex::new(Vec::new());

impl Service for Probe {
    const NAME: &'static str = "probe";
    const ABOUT: &'static str = "A service for tests";
    const VERSION: &'static str = "1.2.3";
    type Config = ProbeConfig;
    type Args = ProbeArgs;

    fn overrides(args: &ProbeArgs) -> Vec<Override> {
        args.greeting.iter().map(|text| Override::new("--greeting", "greeting", text)).collect()
    }

    async fn build(config: Arc<ProbeConfig>, _: &ProbeArgs, context: &Context) -> Result<Self> {
        match config.greeting.as_str() {
            "no port" => Err(Error::internal(Kind::Io, "address in use")),
            "no sense" => Err(Error::config("makes no sense")),
            _ => {
                let stay = (config.greeting == "I stay").then(|| context.drain.watch().session());
                Ok(Self { seen: vec![config.greeting.clone()], config, stay })
            }
        }
    }

    async fn start(&mut self, context: &Context) -> Result<()> {
        if self.config.greeting == "I break" {
            tasks::spawn_essential("listener", broken(), &context.drain);
        }
        if self.config.greeting == "I go in a while" {
            let mut ear = context.drain.watch();
            let session = ear.session();
            tasks::spawn("session", async move {
                ear.draining().await;
                tokio::time::sleep(Duration::from_secs(20)).await;
                drop(session);
            });
        }
        Ok(())
    }

    async fn reload(&mut self, config: Arc<ProbeConfig>) -> Result<()> {
        if config.greeting == "unwelcome" {
            return Err(Error::config("no"));
        }
        self.seen.push(config.greeting.clone());
        self.config = config;
        Ok(())
    }

    async fn stop(self) {
        drop(self.stay);
        let first = self.seen[0].clone();
        SEEN.lock().expect("no test panics while it holds this").push((first, self.seen));
    }
}

async fn broken() {
    panic!("a bug")
}

fn launch(file: Option<&Path>, overrides: Vec<Override>) -> Launch<Probe> {
    let sources = Sources::new("probe", file.map(Path::to_owned), overrides);
    let loaded = sources.load().expect("the configuration is valid");
    Launch { sources, loaded, args: ProbeArgs { greeting: None }, telemetry: None }
}

fn greeting(text: &str) -> Launch<Probe> {
    launch(None, vec![Override::new("--greeting", "greeting", text)])
}

fn context() -> Context {
    Context::new(Arc::default(), "probe", "1.2.3")
}

/// Lives until `drain` is told after a minute; gives the exit code and how long it took to leave.
async fn check(text: &str, code: ExitCode, leaving: Duration) {
    let context = context();
    let drain = context.drain.clone();
    tasks::spawn("operator", async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drain.begin();
    });
    let begun = tokio::time::Instant::now();
    let ended = live(greeting(text), context).await.expect("it starts");
    assert_eq!(ended, code, "{text}");
    assert_eq!(begun.elapsed().as_secs(), leaving.as_secs(), "{text}");
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn nobody_to_wait_for_ends_at_once() {
    check("hello", ExitCode::SUCCESS, MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_leave_in_time_are_waited_for() {
    check("I go in a while", ExitCode::SUCCESS, MINUTE + Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_stay_are_cut_at_the_deadline() {
    check("I stay", ExitCode::FAILURE, MINUTE + Duration::from_secs(25) + CUT_GRACE).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_an_essential_task_ends_the_process() {
    check("I break", ExitCode::FAILURE, Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_cuts_at_once() {
    let drain = Drain::new();
    let session = drain.watch().session();
    drain.begin();
    drain.terminate();
    let begun = tokio::time::Instant::now();
    assert_eq!(leave(&drain, MINUTE).await, 1);
    assert_eq!(begun.elapsed().as_secs(), CUT_GRACE.as_secs());
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_says_why() {
    let io = live(greeting("no port"), context()).await.expect_err("it can't bind");
    assert_eq!((fail::<Probe>(&io), io.to_string()), (ExitCode::FAILURE, "address in use".to_owned()));
    let config = live(greeting("no sense"), context()).await.expect_err("it can't be configured so");
    assert_eq!(fail::<Probe>(&config), ExitCode::from(2));
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_it_has_started() {
    let context = context();
    let (readiness, drain) = (context.readiness.clone(), context.drain.clone());
    tasks::spawn("operator", async move {
        tokio::time::sleep(MINUTE).await;
        assert!(readiness.is_ready());
        drain.begin();
    });
    let ended = live(greeting("ready"), context).await.expect("it starts");
    assert_eq!(ended, ExitCode::SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_loaded_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("probe.toml");
    let write = |text: &str| {
        std::fs::write(dir.path().join("next"), text).expect("it can be written");
        std::fs::rename(dir.path().join("next"), &path).expect("it can be renamed");
    };
    write("greeting = \"first\"");
    let context = context();
    let (drain, registry) = (context.drain.clone(), context.registry.clone());
    let life = live(launch(Some(&path), Vec::new()), context);
    let operator = async {
        for text in
            ["greeting = \"second\"", "greting = \"typo\"", "greeting = \"unwelcome\"", "greeting = \"last\""]
        {
            tokio::time::sleep(Duration::from_secs(5)).await;
            write(text);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        drain.begin();
    };
    let (ended, ()) = tokio::join!(life, operator);
    assert_eq!(ended.expect("it starts"), ExitCode::SUCCESS);

    let all = SEEN.lock().expect("no test panics while it holds this");
    let (_, seen) = all.iter().find(|(first, _)| first == "first").expect("this probe has stopped");
    assert_eq!(seen, &["first", "second", "last"]);
    let counted = registry.exposition();
    assert!(counted.contains(r#"probe_config_reloads_total{result="ok"} 2"#), "{counted}");
    assert!(counted.contains(r#"probe_config_reloads_total{result="refused"} 2"#), "{counted}");
}
