//! From the configuration to the terms on which files are served. Kind: pure.

use crate::config::{self, Algorithm, Config, Kind};

use super::{Attachments, BadMount, Candidate, Coding, Mount, Terms};

impl Terms {
    /// The terms of a configuration: a mount for each of `[[files]]`, in their order.
    ///
    /// # Errors
    /// What is wrong with a mount.
    pub fn of(config: &Config) -> Result<Self, BadMount> {
        let mounts = config.files.iter().map(mount).collect::<Result<_, _>>()?;
        Ok(Self { mounts, memory: config.file_memory.max.bytes(), poll: config.file_memory.poll })
    }
}

fn mount(files: &config::Files) -> Result<Mount, BadMount> {
    let usual = match files.kind {
        Kind::Assets => Mount::assets(&files.prefix, &files.root),
        Kind::Media => Mount::media(&files.prefix, &files.root),
    };
    let candidates = files.try_files.iter().map(|text| text.parse::<Candidate>());
    let mount = Mount {
        max_file: files.max_file.map_or(usual.max_file, |size| size.bytes()),
        max_age: files.max_age.unwrap_or(usual.max_age),
        keep: files.keep.unwrap_or(usual.keep),
        precompress: match &files.precompress {
            Some(algorithms) => algorithms.iter().map(|algorithm| coding(*algorithm)).collect(),
            None => usual.precompress,
        },
        symlinks: files.symlinks,
        internal: files.internal,
        denied: files.deny.clone(),
        only: files.only.clone(),
        index: files.index.clone(),
        candidates: candidates.collect::<Result<_, _>>()?,
        attachments: files.attachments.map_or(usual.attachments, attachments),
        fields: files
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
        ..usual
    };
    mount.check().map(|()| mount)
}

const fn coding(algorithm: Algorithm) -> Coding {
    match algorithm {
        Algorithm::Br => Coding::Brotli,
        Algorithm::Zstd => Coding::Zstd,
        Algorithm::Gzip => Coding::Gzip,
    }
}

const fn attachments(config: config::Attachments) -> Attachments {
    match config {
        config::Attachments::Never => Attachments::Never,
        config::Attachments::Active => Attachments::Active,
        config::Attachments::Always => Attachments::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_core::config::{Override, Sources};

    fn terms(files: &str) -> Result<Terms, BadMount> {
        let sources = Sources::new("http-lb", None, vec![Override::new("--files", "files", files)]);
        let loaded = sources.load::<Config>().expect("the configuration is valid");
        Terms::of(&loaded.service)
    }

    #[test]
    fn what_is_left_out_is_as_the_kind_has_it() {
        let terms = terms(
            r#"[{ prefix = "/static/", root = "/s" }, { prefix = "/media/", root = "/m", kind = "media" }]"#,
        );
        let expected = vec![Mount::assets("/static/", "/s"), Mount::media("/media/", "/m")];
        assert_eq!(terms, Ok(Terms { mounts: expected, ..Terms::default() }));
    }

    #[test]
    fn what_is_written_is_taken() {
        let terms = terms(
            r#"[{ prefix = "/m/", root = "/m", deny = ["invoices"], precompress = ["gzip"], max_age = "1d",
                attachments = "always", headers = { X-A = "b" }, try_files = ["$uri", "/x.html"] }]"#,
        );
        let mount = &terms.expect("the mount is right").mounts[0];
        assert_eq!(mount.denied, ["invoices"]);
        assert_eq!(mount.precompress, [Coding::Gzip]);
        assert_eq!(mount.max_age.as_secs(), 86_400);
        assert_eq!(mount.attachments, Attachments::Always);
        assert_eq!(mount.fields, [("x-a".to_owned(), "b".to_owned())]);
        assert_eq!(mount.candidates.len(), 2);
    }

    #[test]
    fn a_candidate_that_is_none_is_refused() {
        assert!(terms(r#"[{ prefix = "/m/", root = "/m", try_files = ["x"] }]"#).is_err());
    }
}
