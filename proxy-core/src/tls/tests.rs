//! Handshakes over real sockets, with certificates made for the occasion. Kind: driver.

use std::{fs, path::PathBuf, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::*;

/// A folder with the files of both sides: `ca.pem`, `other-ca.pem`, and for each identity NAME.pem and NAME.key.
struct Files {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
    other_ca: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            ca: authority("Our CA"),
            other_ca: authority("Another CA"),
        };
        fs::write(files.path("ca.pem"), files.ca.pem()).unwrap();
        fs::write(files.path("other-ca.pem"), files.other_ca.pem()).unwrap();
        files.issue("server", &files.ca);
        files.issue("client", &files.ca);
        files.issue("stranger", &files.other_ca);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn identity(&self, name: &str) -> Identity {
        let [certificate, key] = [".pem", ".key"].map(|end| self.path(&format!("{name}{end}")));
        Identity { certificate, key }
    }

    /// Writes a new certificate and key, for the DNS name `db1`.
    fn issue(&self, name: &str, by: &CertifiedIssuer<'_, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["db1".to_owned()]).unwrap().signed_by(&key, by).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn server(&self, client_auth: ClientAuth) -> ServerTls {
        let alpn = vec![b"postgresql".to_vec()];
        let identities = vec![self.identity("server")];
        ServerTls::new(ServerTlsConfig { identities, client_auth, alpn, oldest: Version::default() }).unwrap()
    }

    fn client(&self, mode: Mode, ca: Option<&str>, identity: Option<&str>) -> ClientTls {
        let verify = Verify::new(mode, ca.map(|ca| self.path(ca))).unwrap();
        let identity = identity.map(|name| self.identity(name));
        ClientTls::new(ClientTlsConfig { verify, identity, server_name: None, alpn: Vec::new() }).unwrap()
    }

    /// A client that believes our CA and shows nothing.
    fn plain_client(&self) -> ClientTls {
        self.client(Mode::VerifyFull, Some("ca.pem"), None)
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn sockets() -> (Stream, Stream) {
    let (near, far) = UnixStream::pair().unwrap();
    (near.into(), far.into())
}

/// The outcome of one handshake: what the client and the server say of it.
async fn handshake(client: &ClientTls, host: &str, server: &ServerTls) -> (Result<Stream>, Result<Stream>) {
    let (near, far) = sockets();
    tokio::join!(client.connect(near, host, &[], soon()), server.accept(far, &[], soon()))
}

/// One handshake that works, with bytes passing both ways.
async fn connected(client: &ClientTls, server: &ServerTls) -> (Stream, Stream) {
    let (near, far) = handshake(client, "db1", server).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    check_passes(&mut near, &mut far).await;
    check_passes(&mut far, &mut near).await;
    (near, far)
}

async fn check_passes(from: &mut Stream, to: &mut Stream) {
    let mut heard = [0; 5];
    from.write_all(b"hello").await.unwrap();
    from.flush().await.unwrap();
    to.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

fn shown(stream: &Stream) -> Vec<u8> {
    let Stream::Tls(tls) = stream else { panic!("not encrypted") };
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn kind_of_handshake(stream: &Stream) -> HandshakeKind {
    let Stream::Tls(tls) = stream else { panic!("not encrypted") };
    tls.get_ref().1.handshake_kind().unwrap()
}

#[track_caller]
fn check_error(outcome: Result<Stream>, side: Side, kind: Kind, text: &str) {
    let error = outcome.expect_err(text);
    assert_eq!((error.side(), error.kind()), (side, kind), "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn each_mode_believes_what_it_says() {
    let files = Files::new();
    let server = files.server(ClientAuth::Off);
    for (mode, ca, host, believed) in [
        (Mode::Require, None, "elsewhere", true),
        (Mode::VerifyCa, Some("ca.pem"), "elsewhere", true),
        (Mode::VerifyCa, Some("other-ca.pem"), "db1", false),
        (Mode::VerifyFull, Some("ca.pem"), "db1", true),
        (Mode::VerifyFull, Some("ca.pem"), "elsewhere", false),
        (Mode::VerifyFull, Some("other-ca.pem"), "db1", false),
    ] {
        let (near, _) = handshake(&files.client(mode, ca, None), host, &server).await;
        match believed {
            true => assert!(near.unwrap().is_tls(), "{mode:?} {ca:?} {host}"),
            false => check_error(near, Side::Upstream, Kind::Denied, "invalid peer certificate"),
        }
    }
}

#[tokio::test]
async fn a_server_name_of_the_configuration_wins_over_the_host() {
    let files = Files::new();
    let verify = Verify::ChainAndName(files.path("ca.pem"));
    let server_name = Some("db1".to_owned());
    let config = ClientTlsConfig { verify, identity: None, server_name, alpn: Vec::new() };
    let client = ClientTls::new(config.clone()).unwrap();
    let (near, _) = handshake(&client, "10.0.0.1", &files.server(ClientAuth::Off)).await;
    assert!(near.unwrap().is_tls());
    let error = ClientTls::new(ClientTlsConfig { server_name: Some("a b".into()), ..config }).unwrap_err();
    assert!(error.to_string().contains("\"a b\" is neither"), "{error}");
}

#[tokio::test]
async fn callers_prove_who_they_are_when_they_must() {
    let files = Files::new();
    let ca = || files.path("ca.pem");
    for (auth, identity, refused) in [
        (ClientAuth::Required(ca()), Some("client"), None),
        (ClientAuth::Required(ca()), None, Some("peer sent no certificates")),
        (ClientAuth::Required(ca()), Some("stranger"), Some("invalid peer certificate")),
        (ClientAuth::Optional(ca()), Some("client"), None),
        (ClientAuth::Optional(ca()), None, None),
        (ClientAuth::Optional(ca()), Some("stranger"), Some("invalid peer certificate")),
        (ClientAuth::Off, Some("stranger"), None),
    ] {
        let client = files.client(Mode::VerifyFull, Some("ca.pem"), identity);
        let (_near, far) = handshake(&client, "db1", &files.server(auth.clone())).await;
        match refused {
            None => assert!(far.is_ok(), "{auth:?} {identity:?}"),
            Some(text) => check_error(far, Side::Downstream, Kind::Denied, text),
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let files = Files::new();
    let server = files.server(ClientAuth::Off);
    let (mut near, mut far) = connected(&files.plain_client(), &server).await;
    assert!(!server.reload().unwrap(), "nothing is new");
    files.issue("server", &files.ca);
    assert!(server.reload().unwrap());
    let (later, _far) = connected(&files.plain_client(), &server).await;
    assert_ne!(shown(&near), shown(&later));
    check_passes(&mut near, &mut far).await;
    check_passes(&mut far, &mut near).await;
}

#[tokio::test]
async fn a_new_ca_is_believed_from_the_next_handshake_on() {
    let files = Files::new();
    let (server, client) = (files.server(ClientAuth::Off), files.plain_client());
    let (mut near, mut far) = connected(&client, &server).await;
    fs::copy(files.path("other-ca.pem"), files.path("ca.pem")).unwrap();
    assert!(client.reload().unwrap() && !client.reload().unwrap());
    let (refused, _) = handshake(&client, "db1", &server).await;
    check_error(refused, Side::Upstream, Kind::Denied, "invalid peer certificate");
    check_passes(&mut near, &mut far).await;
}

#[tokio::test]
async fn files_that_can_not_be_used_change_nothing_and_are_named() {
    let files = Files::new();
    let server = files.server(ClientAuth::Required(files.path("ca.pem")));
    let client = files.client(Mode::VerifyFull, Some("ca.pem"), Some("client"));
    let key = fs::read(files.path("client.key")).unwrap();
    for (file, content, text) in [
        ("server.key", &key[..], "isn't the one of the certificate"),
        ("server.key", b"", "server.key holds no private key without a passphrase"),
        ("server.pem", b"-----BEGIN CERTIFICATE-----\n", "server.pem isn't PEM"),
        ("server.pem", b"", "server.pem holds no certificate"),
        ("ca.pem", b"", "ca.pem holds no certificate"),
    ] {
        let good = fs::read(files.path(file)).unwrap();
        fs::write(files.path(file), content).unwrap();
        let error = server.reload().unwrap_err();
        assert!(error.kind() == Kind::Config && error.to_string().contains(text), "{error}");
        connected(&client, &server).await;
        fs::write(files.path(file), good).unwrap();
    }
    fs::remove_file(files.path("server.pem")).unwrap();
    assert!(server.reload().unwrap_err().to_string().contains("can't read"));
}

#[tokio::test]
async fn tickets_survive_a_new_certificate_but_not_new_cas_for_clients() {
    let files = Files::new();
    fs::copy(files.path("ca.pem"), files.path("client-ca.pem")).unwrap();
    let server = files.server(ClientAuth::Required(files.path("client-ca.pem")));
    let client = files.client(Mode::VerifyFull, Some("ca.pem"), Some("client"));
    let (near, _far) = connected(&client, &server).await;
    assert_eq!(kind_of_handshake(&near), HandshakeKind::Full);
    files.issue("server", &files.ca);
    assert!(server.reload().unwrap());
    let (near, _far) = connected(&client, &server).await;
    assert_eq!(kind_of_handshake(&near), HandshakeKind::Resumed);
    fs::copy(files.path("other-ca.pem"), files.path("client-ca.pem")).unwrap();
    assert!(server.reload().unwrap());
    let (_near, far) = handshake(&client, "db1", &server).await;
    check_error(far, Side::Downstream, Kind::Denied, "invalid peer certificate");
}

#[tokio::test]
async fn both_agree_on_the_protocol_inside() {
    let files = Files::new();
    let server = files.server(ClientAuth::Off);
    let client = |alpn: &[u8]| {
        let alpn = vec![alpn.to_vec()];
        let config = ClientTlsConfig { verify: Verify::Nothing, identity: None, server_name: None, alpn };
        ClientTls::new(config).unwrap()
    };
    let (near, far) = connected(&client(b"postgresql"), &server).await;
    assert_eq!((near.alpn(), far.alpn()), (Some(&b"postgresql"[..]), Some(&b"postgresql"[..])));
    let (_, far) = handshake(&client(b"http/1.1"), "db1", &server).await;
    check_error(far, Side::Downstream, Kind::Protocol, "protocol");
}

#[tokio::test]
async fn nothing_that_came_in_the_clear_is_taken_for_encrypted() {
    let files = Files::new();
    let (near, far) = sockets();
    let accepted = files.server(ClientAuth::Off).accept(far, b"Q", soon()).await;
    check_error(accepted, Side::Downstream, Kind::Protocol, "1 bytes came in the clear");
    let connected = files.plain_client().connect(near, "db1", b"E?", soon()).await;
    check_error(connected, Side::Upstream, Kind::Protocol, "2 bytes came in the clear");
}

#[tokio::test]
async fn what_is_not_tls_breaks_the_protocol() {
    let files = Files::new();
    let (mut near, far) = sockets();
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let accepted = files.server(ClientAuth::Off).accept(far, &[], soon()).await;
    check_error(accepted, Side::Downstream, Kind::Protocol, "TLS handshake");
}

#[tokio::test(start_paused = true)]
async fn a_silent_caller_has_its_time() {
    let files = Files::new();
    let (_near, far) = sockets();
    let accepted = files.server(ClientAuth::Off).accept(far, &[], soon()).await;
    check_error(accepted, Side::Downstream, Kind::Timeout, "not done in time");
}
