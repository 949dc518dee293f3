//! What a connection speaks by its first bytes: TLS, PROXY headers, or neither.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tautline_core::Input;
use tautline_mio::driver::{Config, Statistics};
use tautline_std::tls::{ClientConfig, Roots, ServerConfig, Session};

use crate::support::{connect, echo, exchange, pattern, stage_with};

/// A self-made certificate for `localhost` and 127.0.0.1, in files.
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self {
            certificate,
            key,
            _dir: dir,
        }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::load(&self.certificate, &self.key).unwrap()
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let file = Some(self.certificate.clone());
        ClientConfig::load(&Roots { file }).unwrap()
    }
}

/// A TLS client over a blocking socket.
pub(crate) struct TlsPeer {
    stream: TcpStream,
    session: Session,
}

impl TlsPeer {
    pub(crate) fn connect(stream: TcpStream, config: &ClientConfig) -> Self {
        let session = Session::client(config, "127.0.0.1").unwrap();
        let mut peer = Self { stream, session };
        while peer.session.is_handshaking() {
            peer.drain();
            if peer.session.is_handshaking() {
                peer.receive();
            }
        }
        peer.drain();
        peer
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.session.write_plaintext(bytes);
            bytes = &bytes[count..];
            self.drain();
        }
    }

    pub(crate) fn finish(&mut self) {
        self.session.close_notify();
        self.drain();
    }

    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut plaintext = Vec::new();
        loop {
            self.take(&mut plaintext);
            if self.session.has_peer_closed() {
                return plaintext;
            }
            self.receive_into(&mut plaintext);
        }
    }

    fn take(&mut self, plaintext: &mut Vec<u8>) {
        let mut buffer = [0; 4_096];
        loop {
            match self.session.read_plaintext(&mut buffer) {
                0 => return,
                count => plaintext.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn receive(&mut self) {
        self.receive_into(&mut Vec::new());
    }

    fn receive_into(&mut self, plaintext: &mut Vec<u8>) {
        let mut buffer = [0; 8_192];
        let count = self.stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the line was cut");
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let fed = self.session.feed(rest).unwrap();
            rest = &rest[fed..];
            self.take(plaintext);
        }
    }

    fn drain(&mut self) {
        self.session.drain_ciphertext(&mut self.stream).unwrap();
    }
}

/// What the endpoint was told of connections before their first byte.
type Introductions = Arc<Mutex<Vec<String>>>;

/// Echoes over a driver with this configuration, and returns the peer's answer,
/// the introductions, and the statistics.
fn echo_with<R: Send + 'static>(
    config: Config,
    peer: impl FnOnce(TcpStream) -> R + Send + 'static,
) -> (R, Vec<String>, Statistics) {
    let introductions = Introductions::default();
    let notes = Arc::clone(&introductions);
    let mut stage = stage_with(config, move |desk, _, input| {
        if let Input::Introduced { peer, secure, .. } = input {
            notes
                .lock()
                .unwrap()
                .push(format!("{} {secure}", peer.ip()));
        }
        if let Input::Received { .. } = input {
            notes.lock().unwrap().push("bytes".into());
        }
        echo(desk, input)
    });
    let answer = stage.with_peer(move |address| peer(connect(address)));
    stage.until(|stage| stage.driver.statistics().closed == 1);
    let mut introductions = introductions.lock().unwrap().clone();
    introductions.dedup();
    (answer, introductions, stage.driver.statistics())
}

fn believing(network: &str) -> Config {
    Config {
        proxies: vec![network.parse().unwrap()],
        ..Config::default()
    }
}

fn proxy_v2(peer: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&peer);
    header.extend_from_slice(&[192, 0, 2, 2]);
    header.extend_from_slice(&[0x30, 0x39, 0x01, 0xbb]);
    header
}

#[test]
fn plain_bytes_need_no_introduction() {
    let (answer, introductions, _) = echo_with(Config::default(), |peer| {
        exchange(peer, b"GET / HTTP/1.1\r\n")
    });
    assert_eq!(answer, b"GET / HTTP/1.1\r\n");
    assert_eq!(introductions, ["bytes"]);
}

#[test]
fn a_believed_proxy_names_the_peer() {
    let v1 = b"PROXY TCP4 192.0.2.9 192.0.2.2 12345 443\r\n".to_vec();
    for mut bytes in [v1, proxy_v2([192, 0, 2, 9])] {
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let (answer, introductions, _) =
            echo_with(believing("127.0.0.0/8"), move |peer| exchange(peer, &bytes));
        assert_eq!(answer, b"GET / HTTP/1.1\r\n");
        assert_eq!(introductions, ["192.0.2.9 false", "bytes"]);
    }
}

#[test]
fn a_proxy_header_may_come_byte_by_byte() {
    let (answer, introductions, _) = echo_with(believing("127.0.0.1"), |mut peer| {
        peer.set_nodelay(true).unwrap();
        let mut bytes = proxy_v2([192, 0, 2, 9]);
        bytes.extend_from_slice(b"GET");
        for byte in bytes {
            peer.write_all(&[byte]).unwrap();
        }
        exchange(peer, b" / HTTP/1.1")
    });
    assert_eq!(answer, b"GET / HTTP/1.1");
    assert_eq!(introductions, ["192.0.2.9 false", "bytes"]);
}

fn read_end(mut peer: TcpStream, bytes: &[u8]) -> Vec<u8> {
    peer.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    if let Err(error) = peer.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    answer
}

#[test]
fn a_proxy_that_is_not_believed_is_refused_and_counted() {
    let (answer, introductions, statistics) = echo_with(believing("10.0.0.0/8"), |peer| {
        read_end(
            peer,
            b"PROXY TCP4 192.0.2.9 192.0.2.2 12345 443\r\nGET / HTTP/1.1\r\n",
        )
    });
    assert_eq!(answer, b"");
    assert_eq!(introductions, [""; 0]);
    assert_eq!(statistics.refused.proxy_not_believed, 1);
}

#[test]
fn a_malformed_proxy_header_is_refused_and_counted() {
    let (_, introductions, statistics) = echo_with(believing("127.0.0.1"), |peer| {
        read_end(peer, b"PROXY TCP4 192.0.2.999 192.0.2.2 12345 443\r\n")
    });
    assert_eq!(introductions, [""; 0]);
    assert_eq!(statistics.refused.proxy_malformed, 1);
}

#[test]
fn tls_is_told_by_its_first_byte_and_carries_both_directions() {
    let certificate = Certificate::new();
    let config = Config {
        accept_tls: Some(certificate.server()),
        ..Config::default()
    };
    let client = certificate.client();
    let (answer, introductions, statistics) = echo_with(config, move |stream| {
        let mut peer = TlsPeer::connect(stream, &client);
        peer.write_all(&pattern(60_000));
        peer.finish();
        peer.read_to_end()
    });
    assert!(answer == pattern(60_000));
    assert_eq!(introductions, ["127.0.0.1 true", "bytes"]);
    assert_eq!(statistics.tls_established, 1);
}

#[test]
fn tls_stands_behind_a_believed_proxy() {
    let certificate = Certificate::new();
    let config = Config {
        accept_tls: Some(certificate.server()),
        ..believing("127.0.0.1")
    };
    let client = certificate.client();
    let (answer, introductions, _) = echo_with(config, move |mut stream| {
        stream.write_all(&proxy_v2([192, 0, 2, 9])).unwrap();
        let mut peer = TlsPeer::connect(stream, &client);
        peer.write_all(b"over two");
        peer.finish();
        peer.read_to_end()
    });
    assert_eq!(answer, b"over two");
    assert_eq!(introductions, ["192.0.2.9 true", "bytes"]);
}

#[test]
fn tls_without_a_certificate_is_refused_and_counted() {
    let (_, _, statistics) = echo_with(Config::default(), |peer| {
        read_end(peer, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
    });
    assert_eq!(statistics.refused.tls_not_configured, 1);
}

#[test]
fn broken_tls_ends_the_connection() {
    let certificate = Certificate::new();
    let config = Config {
        accept_tls: Some(certificate.server()),
        ..Config::default()
    };
    let (_, introductions, statistics) = echo_with(config, |peer| {
        read_end(peer, b"\x16\x03\x01\x00\x05\x09\x09\x09\x09\x09")
    });
    assert_eq!(introductions, [""; 0]);
    assert_eq!((statistics.tls_failed, statistics.tls_established), (1, 0));
}
