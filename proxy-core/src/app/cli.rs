//! The command line: what every binary takes, and what it adds. Kind: wiring.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::Service;
use crate::config::{Override, Sources};

/// The exit code of wrong usage and of a wrong configuration.
pub(super) const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Flags<A: clap::Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: A,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, print it as it takes effect (secrets hidden), and exit
    #[arg(long)]
    check: bool,
    /// Where the admin endpoint listens, over `admin.listen`
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// error, warn, info, debug, trace, or directives; over `log.level`
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Common {
    fn overrides(&self) -> Vec<Override> {
        let admin = self.admin.map(|admin| Override::new("--admin", "admin.listen", admin.to_string()));
        let level = self.log_level.as_ref().map(|level| Override::new("--log-level", "log.level", level));
        admin.into_iter().chain(level).collect()
    }
}

/// A command line that makes sense.
pub(super) struct Cli<S: Service> {
    common: Common,
    pub(super) args: S::Args,
}

impl<S: Service> Cli<S> {
    /// Reads the process's own arguments.
    pub(super) fn parse() -> Result<Self, clap::Error> {
        Self::from(std::env::args_os())
    }

    fn from<T>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<std::ffi::OsString> + Clone,
    {
        let command = Flags::<S::Args>::command()
            .name(S::NAME)
            .about(S::ABOUT)
            .version(S::VERSION)
            .after_help(environment::<S>());
        let Flags { common, own } = Flags::from_arg_matches(&command.try_get_matches_from(words)?)?;
        Ok(Self { common, args: own })
    }

    pub(super) const fn wants_check(&self) -> bool {
        self.common.check
    }

    /// Where the configuration comes from: file, then environment, then flags.
    pub(super) fn sources(&self) -> Sources {
        let file = self
            .common
            .config
            .clone()
            .or_else(|| std::env::var_os(config_variable::<S>()).map(PathBuf::from));
        let overrides = [self.common.overrides(), S::overrides(&self.args)].concat();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Sources::new(S::NAME, file, overrides).with_environment(std::env::vars_os().filter_map(text))
    }
}

fn prefix<S: Service>() -> String {
    S::NAME.replace('-', "_").to_uppercase()
}

fn config_variable<S: Service>() -> String {
    format!("{}_CONFIG", prefix::<S>())
}

fn environment<S: Service>() -> String {
    let prefix = prefix::<S>();
    format!(
        "Environment: {prefix}_CONFIG names the file. {prefix}_SECTION__KEY sets any key over the file, \
         {prefix}_ADMIN__LISTEN for one; lists as a,b or [\"a\", \"b\"]; flags win over both. A secret `key` may \
         be given as `key_file`, the path of a file that holds it. RUST_LOG wins over log.level.\n\n\
         Signals: SIGTERM or SIGINT drains, a second one leaves at once; SIGHUP loads the configuration again.\n\n\
         Exit codes: 0 everybody left; 1 a failure, or sessions were cut; 2 wrong usage or configuration."
    )
}

/// Prints what clap has to say; help and version are no errors.
pub(super) fn explain(usage: &clap::Error) -> ExitCode {
    // A closed pipe (`--help | head`) is the reader's business.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Probe;
    use super::*;

    #[track_caller]
    fn check(words: &[&str], overrides: &[Override]) {
        let words = ["probe"].iter().chain(words);
        let cli = Cli::<Probe>::from(words).expect("the flags are valid");
        assert_eq!([cli.common.overrides(), Probe::overrides(&cli.args)].concat(), overrides);
    }

    #[test]
    fn flags_override_settings() {
        check(&[], &[]);
        check(&["--admin", "127.0.0.1:1"], &[Override::new("--admin", "admin.listen", "127.0.0.1:1")]);
        check(&["--log-level", "debug"], &[Override::new("--log-level", "log.level", "debug")]);
    }

    #[test]
    fn a_service_adds_flags_of_its_own() {
        check(&["--greeting", "hello"], &[Override::new("--greeting", "greeting", "hello")]);
    }

    #[test]
    fn unknown_flags_are_usage_errors() {
        let usage = Cli::<Probe>::from(["probe", "--chekc"]).err().expect("there is no such flag");
        assert!(usage.use_stderr() && usage.to_string().contains("--check"), "{usage}");
    }

    #[test]
    fn the_help_tells_variables_signals_and_exit_codes() {
        let help =
            Cli::<Probe>::from(["probe", "--help"]).err().expect("help is printed, not run").to_string();
        for part in ["PROBE_SECTION__KEY", "SIGHUP", "Exit codes", "--greeting"] {
            assert!(help.contains(part), "no {part} in {help}");
        }
    }
}
