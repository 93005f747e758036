//! The ways in: limits, unix sockets, TLS, the PROXY protocol, and the listener for reads. Kind: driver.

use integration::{
    Result,
    bed::{Bed, SOON, psql, run, value},
    pg::Account,
    process::free_port,
    wait::eventually,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};
use tokio_postgres::{Config, NoTls};

/// A router with a second listener, which has `more` of its own.
fn second(more: &str) -> Result<(Bed, SocketAddr)> {
    let addr: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()).into();
    let bed = Bed::with(|options| options.extra = format!("[[listeners]]\nlisten = \"{addr}\"\n{more}\n"))?;
    Ok((bed, addr))
}

fn at(addr: SocketAddr) -> String {
    Account::BENCH.conninfo(addr.ip(), addr.port())
}

#[test]
fn one_client_too_many_is_turned_away_politely() -> Result<()> {
    let (bed, addr) = second("max_connections = 1")?;
    run(async {
        let first = integration::bed::connect(&at(addr)).await?;
        let mut said = Vec::new();
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("53300") && said.contains("too many clients"), "{said:?}");
        assert_eq!(value(&first, "select 1").await?, "1");
        assert_eq!(bed.router.metric("pg_router_listener_refused_total")?, 1.0);
        drop(first);
        let works = || psql(&at(addr), &["-c", "select 1"]).map_err(|e| e.to_string());
        eventually(SOON, "a free place", works).map(drop)
    })
}

#[test]
fn a_unix_socket_is_a_way_in() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(".s.PGSQL.6432");
    let bed = Bed::with(|options| {
        options.extra = format!("[[listeners]]\nlisten = \"unix:{}\"\n", path.display())
    })?;
    let conninfo = Account::BENCH.conninfo(dir.path().display(), 6432);
    assert_eq!(psql(&conninfo, &["-c", "select current_user"])?, "bench");
    assert!(psql(&conninfo, &["-c", "\\conninfo"])?.contains("via socket"));
    assert_eq!(bed.router.stop()?, Some(0));
    assert!(!path.exists());
    Ok(())
}

#[test]
fn a_listener_for_reads_answers_from_a_standby() -> Result<()> {
    let (bed, addr) = second("role = \"replica\"")?;
    let recovery = ["-c", "select pg_is_in_recovery()"];
    let standby = || match psql(&at(addr), &recovery) {
        Ok(answer) if answer == "t" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually(SOON, "a standby", standby)?;
    assert_eq!(psql(&at(addr), &["-c", "show in_hot_standby"])?, "on");
    assert_eq!(bed.psql(&recovery)?, "f");
    assert_eq!(bed.psql(&["-c", "show in_hot_standby"])?, "off");
    let said = psql(&at(addr), &["-c", "create table never (id int)"]).unwrap_err().to_string();
    assert!(said.contains("read-only transaction"), "{said}");
    Ok(())
}

#[test]
fn a_trusted_proxy_speaks_for_its_client() -> Result<()> {
    let (bed, addr) = second("proxy_protocol_from = [\"127.0.0.0/8\"]")?;
    run(async {
        let mut stream = tokio::net::TcpStream::connect(addr).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &proxy_v2()).await?;
        let config: Config = bed.conninfo().parse()?;
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        assert_eq!(value(&client, "select 1").await?, "1");
        assert!(integration::bed::attempt(&at(addr)).await.is_err(), "without a header");
        Ok(())
    })
}

/// HAProxy's proxy-protocol.txt, 2.2: the signature, version 2 and PROXY, TCP over IPv4, 12 bytes of addresses.
fn proxy_v2() -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x19, 0x20];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &addresses].concat()
}

/// A CA and a certificate of it for `localhost`, as PEM files in `dir`.
fn certificates(dir: &Path) -> Result<()> {
    let trouble = |e: rcgen::Error| integration::Error::new(e.to_string());
    let mut ca = CertificateParams::new(Vec::new()).map_err(trouble)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "a CA for a test"); // else it is named like the leaf
    let ca_key = KeyPair::generate().map_err(trouble)?;
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key).map_err(trouble)?.pem())?;
    let key = KeyPair::generate().map_err(trouble)?;
    let leaf = CertificateParams::new(vec!["localhost".into()]).map_err(trouble)?;
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(trouble)?;
    fs::write(dir.join("tls.crt"), leaf.pem())?;
    Ok(fs::write(dir.join("tls.key"), key.serialize_pem())?)
}

fn encrypted(dir: &Path, required: bool) -> Result<Bed> {
    certificates(dir)?;
    let dir = dir.display();
    Bed::with(|options| {
        options.extra = format!("[client_tls]\ncertificate = \"{dir}/tls.crt\"\nkey = \"{dir}/tls.key\"\n");
        options.env.push(("PG_ROUTER_CLIENT_TLS_REQUIRED", required.to_string()));
    })
}

#[test]
fn psql_encrypts_and_knows_whom_it_talks_to() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bed = encrypted(dir.path(), false)?;
    let port = bed.router.addr().port();
    let conninfo = |ca: &str| {
        let who = Account::BENCH.conninfo("localhost hostaddr=127.0.0.1", port);
        format!("{who} sslmode=verify-full sslrootcert={}/{ca}", dir.path().display())
    };
    let said = psql(&conninfo("ca.pem"), &["-c", "\\conninfo", "-c", "select 1"])?;
    assert!(said.contains("SSL connection (protocol: TLSv1.3") && said.ends_with("\n1"), "{said}");
    assert!(psql(&conninfo("tls.crt"), &["-c", "select 1"]).is_err(), "another CA");
    assert_eq!(psql(&format!("{} sslmode=disable", bed.conninfo()), &["-c", "select 1"])?, "1");
    Ok(())
}

#[test]
fn who_must_encrypt_and_does_not_is_told_so() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bed = encrypted(dir.path(), true)?;
    assert_eq!(psql(&format!("{} sslmode=require", bed.conninfo()), &["-c", "select 1"])?, "1");
    let said = psql(&format!("{} sslmode=disable", bed.conninfo()), &["-c", "select 1"]);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("encrypted connections only"), "{said}");
    Ok(())
}

/// CVE-2021-23214: what is sent in clear behind the request must not be read as if it had come encrypted.
#[test]
fn plaintext_behind_a_request_for_tls_is_never_believed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bed = encrypted(dir.path(), false)?;
    let mut stream = TcpStream::connect(bed.router.addr())?;
    stream.set_read_timeout(Some(SOON))?;
    let startup = b"\0\0\0\x14\0\x03\0\0user\0bench\0\0";
    stream.write_all(&[b"\0\0\0\x08\x04\xd2\x16\x2f".as_slice(), startup].concat())?;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said); // an end or a reset
    assert!(said.is_empty() || said[0] == b'S', "{said:?}");
    assert!(!said.windows(5).any(|bytes| bytes == b"SCRAM"), "{said:?}");
    bed.metric_reaches("pg_router_errors_total", 1.0)
}
