//! Which suites there are, in which version, and what of each is run. Kind: pure.

use std::fmt;
use std::net::SocketAddr;

/// A test suite, as its authors publish it on the Python package index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// Its name here and there.
    pub(super) name: &'static str,
    /// The version.
    pub(super) version: &'static str,
    /// The checksum of the source archive.
    pub(super) sha256: &'static str,
    /// The folder in that archive.
    pub(super) folder: &'static str,
    /// What pytest is given, from that folder.
    pub(super) pytest: &'static [&'static str],
    /// How its tests are told where Redis is.
    pub(super) aim: Aim,
}

/// How tests are told where Redis is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// `--redis-url`, and `--protocol` for the version of the protocol.
    Options,
    /// `REDIS_HOST` and `REDIS_6379_TCP`.
    Environment,
    /// `127.0.0.1:6379` stands in the files of this folder, and is replaced in a copy.
    Files(&'static str),
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resp {
    V2,
    V3,
}

impl Resp {
    pub(super) const ALL: [Self; 2] = [Self::V2, Self::V3];

    pub(super) fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl fmt::Display for Resp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RESP{}", self.number())
    }
}

/// The suites.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "redis-py",
        version: "8.1.0",
        sha256: "6e1a19beef9225c83efd689c7e6b7da2d5215b1f42cd13b7fc3714d0a09c7b25",
        folder: "redis-8.1.0",
        pytest: &[
            "tests",
            // These need modules, a cluster, certificates, Sentinels or a hosted service; or no Redis at all.
            "-m",
            "not onlycluster and not redismod and not ssl and not cp_integration and not multidb_integration",
            "--ignore=tests/maint_notifications",
            "--ignore=tests/test_auth",
            "--ignore=tests/test_http",
            "--ignore=tests/test_multidb",
            "--ignore=tests/test_observability",
            "--ignore=tests/test_parsers",
            "--ignore=tests/test_scenario",
            "--ignore=tests/test_asyncio/test_multidb",
            "--ignore=tests/test_asyncio/test_observability",
            "--ignore=tests/test_asyncio/test_scenario",
            "--ignore-glob=*/test_cluster*.py",
            "--ignore-glob=*/test_search*.py",
            "--ignore-glob=*/test_sentinel*.py",
            "--ignore-glob=*/test_json.py",
            "--ignore-glob=*/test_timeseries.py",
            "--ignore-glob=*/test_bloom.py",
            "--ignore-glob=*/test_ssl.py",
            "--ignore-glob=*/test_vsets.py",
        ],
        aim: Aim::Options,
    },
    Suite {
        name: "django-redis",
        version: "6.0.0",
        sha256: "2d9cb12a20424a4c4dde082c6122f486628bae2d9c2bee4c0126a4de7fda00dd",
        folder: "django_redis-6.0.0",
        // Those that ask Sentinel connect to the master that it names, past any router; those with a socket in the
        // file system look for it in a fixed place.
        pytest: &["tests", "-k", "not sqlite_sentinel and not sqlite_usock"],
        aim: Aim::Files("tests/settings"),
    },
    Suite {
        name: "kombu",
        version: "5.7.0",
        sha256: "31e62fdfd2381caa3422f8e02b84a491d9a2180ddda74507b57f4cb1e1c2c2c9",
        folder: "kombu-5.7.0",
        pytest: &["t/integration/test_redis.py", "t/integration/test_redis_brpop_qos.py"],
        aim: Aim::Environment,
    },
];

/// What the suites import, beside themselves.
pub(super) const PACKAGES: &[&str] = &[
    "redis==8.1.0",
    "django-redis==6.0.0",
    "kombu==5.7.0",
    "django>=5.2,<5.3",
    "pytest==8.4.2",
    "pytest-asyncio>=1,<2",
    "pytest-timeout",
    "pytest-mock",
    "pytest-xdist",
    "pytest-rerunfailures",
    "pytest-freezer",
    "hypothesis<7",
    "packaging",
    "coverage", // redis-py's settings name one of its warnings
    "ujson",
    "numpy",
    "pybreaker",
    "aiohttp",
    "xxhash",
    "msgpack",
    "lz4",
    "pyzstd",
    "redis-entraid==1.2.1",
    "opentelemetry-api",
    "opentelemetry-sdk",
    // What builds the archives' metadata.
    "setuptools",
    "wheel",
    "hatchling",
];

impl Suite {
    /// Its requirement, as pip wants it where it is to check what it gets.
    pub(super) fn requirement(&self) -> String {
        format!("{}=={} --hash=sha256:{}", self.requirement_name(), self.version, self.sha256)
    }

    fn requirement_name(&self) -> &'static str {
        if self.name == "redis-py" { "redis" } else { self.name }
    }

    /// Where pytest is told about Redis.
    pub(super) fn options(&self, addr: SocketAddr, resp: Resp) -> Vec<String> {
        match self.aim {
            Aim::Options => {
                vec![format!("--redis-url=redis://{addr}/0"), format!("--protocol={}", resp.number())]
            }
            Aim::Environment | Aim::Files(_) => Vec::new(),
        }
    }

    /// What its environment says about Redis.
    pub(super) fn environment(&self, addr: SocketAddr, resp: Resp) -> Vec<(&'static str, String)> {
        let mut all = vec![("SUITE_RESP", resp.number().to_string())];
        match self.aim {
            Aim::Options => all.clear(),
            Aim::Environment => {
                all.push(("REDIS_HOST", addr.ip().to_string()));
                all.push(("REDIS_6379_TCP", addr.port().to_string()));
            }
            Aim::Files(_) => {}
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, options: &[&str], environment: &[(&str, &str)]) {
        let suite = SUITES.iter().find(|suite| suite.name == name).unwrap();
        let addr = ([127, 0, 0, 1], 1).into();
        assert_eq!(suite.options(addr, Resp::V2), options);
        let told = suite.environment(addr, Resp::V2);
        assert_eq!(told.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>(), environment);
    }

    #[test]
    fn each_suite_is_told_in_its_own_way() {
        check("redis-py", &["--redis-url=redis://127.0.0.1:1/0", "--protocol=2"], &[]);
        check("django-redis", &[], &[("SUITE_RESP", "2")]);
        let kombu = [("SUITE_RESP", "2"), ("REDIS_HOST", "127.0.0.1"), ("REDIS_6379_TCP", "1")];
        check("kombu", &[], &kombu);
    }
}
