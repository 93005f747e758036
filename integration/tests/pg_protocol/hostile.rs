//! Bytes that no client sends: each closes its own connection, is counted, costs no memory, and disturbs nobody.
//! Kind: driver.

use integration::{
    Context, Result,
    bed::{Bed, SOON, run, value},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};
use tokio_postgres::{Config, NoTls};

/// What may come in place of a startup packet.
const BEFORE_LOGIN: &[(&str, &[u8])] = &[
    ("a length of 0", b"\0\0\0\0\0\x03\0\0"),
    ("a length of 3", b"\0\0\0\x03\0\x03\0\0"),
    ("a length of 7", b"\0\0\0\x07\0\x03\0"),
    ("a negative length", b"\xff\xff\xff\xff\0\x03\0\0"),
    ("4 GiB", b"\xff\xff\xff\xf0\0\x03\0\0user\0"),
    ("2 GiB", b"\x7f\xff\xff\xff\0\x03\0\0user\0"),
    ("a byte above the cap", b"\0\0\x27\x11\0\x03\0\0user\0"),
    ("no user", b"\0\0\0\x09\0\x03\0\0\0"),
    ("a name without a value", b"\0\0\0\x0e\0\x03\0\0user\0\0"),
    ("no end of the list", b"\0\0\0\x13\0\x03\0\0user\0bench\0"),
    ("protocol 2", b"\0\0\0\x14\0\x02\0\0user\0bench\0\0"),
    ("protocol 9", b"\0\0\0\x14\0\x09\0\0user\0bench\0\0"),
    ("a TLS hello", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"),
    ("redis", b"*1\r\n$4\r\nPING\r\n"),
    ("garbage", b"\xde\xad\xbe\xef\xde\xad\xbe\xef\xde\xad\xbe\xef"),
    ("a query in place of a login", b"Q\0\0\0\x0dselect 1\0"),
    ("a password before its question", b"p\0\0\0\x05\0"),
    ("bytes behind a request for TLS", b"\0\0\0\x08\x04\xd2\x16\x2fxx"),
    (
        "a negative count in SASL",
        b"\0\0\0\x14\0\x03\0\0user\0bench\0\0p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\x01",
    ),
    ("an answer of 4 GiB", b"\0\0\0\x14\0\x03\0\0user\0bench\0\0p\xff\xff\xff\xff"),
    ("an answer of no length", b"\0\0\0\x14\0\x03\0\0user\0bench\0\0p\0\0\0\0"),
    ("a query in place of a password", b"\0\0\0\x14\0\x03\0\0user\0bench\0\0Q\0\0\0\x0dselect 1\0"),
];

/// What may come from somebody who has logged in.
const AFTER_LOGIN: &[(&str, &[u8])] = &[
    ("a length of 0", b"Q\0\0\0\0"),
    ("a length of 3", b"Q\0\0\0\x03"),
    ("a negative length", b"Q\xff\xff\xff\xff"),
    ("4 GiB", b"Q\xff\xff\xff\xf0select 1"),
    ("2 GiB", b"P\x7f\xff\xff\xffselect 1"),
    ("an unknown tag", b"!\0\0\0\x04"),
    ("a tag of 0", b"\0\0\0\0\x04"),
    ("a password", b"p\0\0\0\x08abc\0"),
    ("a TLS hello", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"),
    ("a startup packet", b"\0\0\0\x14\0\x03\0\0user\0bench\0\0"),
    ("a query behind a good one", b"Q\0\0\0\x0dselect 1\0Q\0\0\0\x01"),
];

/// Sends `bytes` and reads until the other side closes; a reset is an end, too.
fn is_closed(what: &str, mut stream: &TcpStream, bytes: &[u8]) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(SOON)).context(what)?;
    stream.write_all(bytes).context(what)?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            Err(error).context(format!("{what}: not closed after {said:?}"))
        }
        _ => Ok(said),
    }
}

/// A logged-in connection's raw socket.
async fn logged_in(bed: &Bed) -> Result<TcpStream> {
    let stream = TcpStream::connect(bed.router.addr())?;
    let ours = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    let config: Config = bed.conninfo().parse()?;
    let (client, connection) = config.connect_raw(tokio::net::TcpStream::from_std(stream)?, NoTls).await?;
    // Neither is dropped, which would say good-bye, nor polled, which would read what we want to.
    std::mem::forget((client, connection));
    ours.set_nonblocking(false)?;
    Ok(ours)
}

#[test]
fn hostile_bytes_before_login_close_their_own_connection_alone() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let bystander = bed.client().await?;
        bystander.batch_execute("begin").await?;
        let before = bed.memory("VmRSS")?;
        for (what, bytes) in BEFORE_LOGIN {
            is_closed(what, &TcpStream::connect(bed.router.addr())?, bytes)?;
            assert_eq!(value(&bystander, "select 1").await?, "1", "{what}");
        }
        bed.metric_reaches("pg_router_errors_total", BEFORE_LOGIN.len() as f64)?;
        let grown = bed.memory("VmHWM")?.saturating_sub(before);
        assert!(grown < 4 * 1024, "{grown} KiB more than the {before} KiB before");
        bystander.batch_execute("commit").await?;
        Ok(())
    })
}

#[test]
fn hostile_bytes_after_login_close_their_own_connection_alone() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let bystander = bed.client().await?;
        bystander.batch_execute("begin").await?;
        let before = bed.memory("VmRSS")?;
        for (what, bytes) in AFTER_LOGIN {
            let said = is_closed(what, &logged_in(&bed).await?, bytes)?;
            let said = String::from_utf8_lossy(&said);
            assert!(said.is_empty() || said.contains("08P01"), "{what}: {said:?}");
            assert_eq!(value(&bystander, "select 1").await?, "1", "{what}");
        }
        bed.metric_reaches("pg_router_protocol_violations_total", AFTER_LOGIN.len() as f64)?;
        let grown = bed.memory("VmHWM")?.saturating_sub(before);
        assert!(grown < 4 * 1024, "{grown} KiB more than the {before} KiB before");
        bystander.batch_execute("commit").await?;
        Ok(())
    })
}

/// The server judges what is inside a message: the router passes it on, and the connection lives.
#[test]
fn negative_counts_inside_a_message_are_the_servers_to_judge() -> Result<()> {
    let bed = Bed::start()?;
    run(async {
        let bystander = bed.client().await?;
        let mut stream = logged_in(&bed).await?;
        stream.set_read_timeout(Some(SOON))?;
        // Bind with -1 parameter formats, then Sync.
        stream.write_all(b"P\0\0\0\x10\0select 1\0\0\0B\0\0\0\x0c\0\0\xff\xff\0\0\0\0S\0\0\0\x04")?;
        let said = until_ready(&mut stream)?;
        assert!(String::from_utf8_lossy(&said).contains("08P01"), "{said:?}");
        assert_eq!(value(&bystander, "select 1").await?, "1");
        Ok(())
    })
}

fn until_ready(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let (mut said, mut piece) = (Vec::new(), [0; 1024]);
    while !said.windows(6).any(|bytes| bytes.starts_with(b"Z\0\0\0\x05")) {
        match stream.read(&mut piece)? {
            0 => break,
            n => said.extend_from_slice(&piece[..n]),
        }
    }
    Ok(said)
}

#[test]
fn a_truncated_message_ends_with_its_client_alone() -> Result<()> {
    let bed = Bed::with(|options| options.own.pool_size = 1)?;
    run(async {
        let bystander = bed.client().await?;
        for part in [b"Q\0\0\0".as_slice(), b"Q\0\0\x10\0select", b"P\0\0\0\x20"] {
            let mut stream = logged_in(&bed).await?;
            stream.write_all(part)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            is_closed("half a message", &stream, b"")?;
            assert_eq!(value(&bystander, "select 1").await?, "1");
        }
        Ok(())
    })
}

#[test]
fn a_silent_client_is_closed_after_the_login_timeout() -> Result<()> {
    let addr: SocketAddr = (std::net::Ipv4Addr::LOCALHOST, integration::process::free_port()).into();
    let bed = Bed::with(|options| {
        options.extra = format!("[[listeners]]\nlisten = \"{addr}\"\nlogin_timeout = \"300ms\"\n");
    })?;
    is_closed("silence", &TcpStream::connect(addr)?, b"")?;
    is_closed("half a packet", &TcpStream::connect(addr)?, b"\0\0\0\x14\0\x03")?;
    bed.metric_reaches("pg_router_errors_total", 2.0)
}
