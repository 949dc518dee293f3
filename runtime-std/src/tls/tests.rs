use super::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A self-made authority for `localhost` and 127.0.0.1, in files.
struct Files {
    dir: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self {
            dir,
            certificate,
            key,
        }
    }

    fn server(&self) -> Session {
        Session::server(&ServerConfig::load(&self.certificate, &self.key).unwrap()).unwrap()
    }

    fn client(&self, host: &str) -> Session {
        Session::client(&self.client_config(), host).unwrap()
    }

    fn client_config(&self) -> ClientConfig {
        let file = Some(self.certificate.clone());
        ClientConfig::load(&Roots { file }).unwrap()
    }
}

/// Carries what `from` has for the line to `to`, in pieces of `piece` bytes.
fn carry(from: &mut Session, to: &mut Session, piece: usize) -> Result<usize, TlsError> {
    let mut line = Vec::new();
    from.drain_ciphertext(&mut line).unwrap();
    for piece in line.chunks(piece) {
        assert_eq!(to.feed(piece)?, piece.len());
    }
    Ok(line.len())
}

fn shake_hands(client: &mut Session, server: &mut Session, piece: usize) -> Result<(), TlsError> {
    while carry(client, server, piece)? + carry(server, client, piece)? > 0 {}
    Ok(())
}

fn read(session: &mut Session) -> Vec<u8> {
    let mut buf = [0; 1_000];
    let mut bytes = Vec::new();
    loop {
        match session.read_plaintext(&mut buf) {
            0 => return bytes,
            count => bytes.extend_from_slice(&buf[..count]),
        }
    }
}

#[test]
fn both_directions_carry_and_end() {
    let files = Files::new();
    for (host, piece) in [("localhost", 1), ("127.0.0.1", usize::MAX)] {
        let (mut client, mut server) = (files.client(host), files.server());
        assert!(client.is_handshaking() && client.wants_write());
        // Written before the handshake is done: kept, and sent after it.
        assert_eq!(client.write_plaintext(b"early"), 5);
        shake_hands(&mut client, &mut server, piece).unwrap();
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert!(server.wants_read());
        assert_eq!(read(&mut server), b"early");
        assert!(!server.wants_read());

        assert_eq!(server.write_plaintext(b"answer"), 6);
        server.close_notify();
        carry(&mut server, &mut client, piece).unwrap();
        assert_eq!(read(&mut client), b"answer");
        assert!(client.has_peer_closed() && !server.has_peer_closed());
        assert_eq!(client.feed(b"anything").unwrap(), 8);

        // The other direction is still open.
        assert_eq!(client.write_plaintext(b"more"), 4);
        carry(&mut client, &mut server, piece).unwrap();
        assert_eq!(read(&mut server), b"more");
    }
}

#[test]
fn both_directions_are_bounded() {
    let files = Files::new();
    let (mut client, mut server) = (files.client("localhost"), files.server());
    shake_hands(&mut client, &mut server, usize::MAX).unwrap();

    let block = vec![7; 1 << 20];
    let taken = client.write_plaintext(&block);
    assert!((1..=CIPHERTEXT_WAITING_MAX).contains(&taken), "{taken}");
    assert_eq!(client.write_plaintext(&block), 0);

    let mut line = Vec::new();
    client.drain_ciphertext(&mut line).unwrap();
    let mut received = 0;
    let mut fed = 0;
    while fed < line.len() {
        let count = server.feed(&line[fed..]).unwrap();
        assert!(count > 0);
        fed += count;
        let waiting = server.plaintext_waiting;
        assert!(waiting < 2 * PLAINTEXT_WAITING_MAX, "{waiting}");
        assert!(fed == line.len() || server.feed(&line[fed..]).unwrap() == 0);
        received += read(&mut server).len();
    }
    assert_eq!(received, taken);
}

#[test]
fn a_drain_that_stops_goes_on_where_it_stopped() {
    /// Takes 10 bytes, then blocks once.
    #[derive(Default)]
    struct Slow(Vec<u8>, bool);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if !self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(10);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let files = Files::new();
    let (mut client, mut server) = (files.client("localhost"), files.server());
    shake_hands(&mut client, &mut server, usize::MAX).unwrap();
    client.write_plaintext(&[9; 1_000]);
    let mut slow = Slow::default();
    while client.wants_write() {
        let _ = client.drain_ciphertext(&mut slow);
    }
    server.feed(&slow.0).unwrap();
    assert_eq!(read(&mut server), [9; 1_000]);
}

#[test]
fn strangers_are_refused() {
    let (files, others) = (Files::new(), Files::new());
    let mut wrong_name = files.client("example.org");
    shake_hands(&mut wrong_name, &mut files.server(), 100).unwrap_err();
    let mut wrong_root = others.client("localhost");
    let error = shake_hands(&mut wrong_root, &mut files.server(), 100).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(wrong_root.wants_write(), "the peer learns why");

    let error = files.server().feed(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(!error.to_string().is_empty());
    let error = Session::client(&files.client_config(), "no name").unwrap_err();
    assert!(error.to_string().contains("no name"));
}

#[test]
fn unusable_files_are_named() {
    let (files, others) = (Files::new(), Files::new());
    let missing = files.dir.path().join("missing.pem");
    let empty = files.dir.path().join("empty.pem");
    let broken = files.dir.path().join("broken.pem");
    fs::write(&empty, "nothing\n").unwrap();
    fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();

    let message = |certificate: &Path, key: &Path| {
        ServerConfig::load(certificate, key)
            .unwrap_err()
            .to_string()
    };
    let cases = [
        (&missing, &files.key, "missing.pem: No such file"),
        (
            &empty,
            &files.key,
            "empty.pem: there is no certificate in it",
        ),
        (
            &broken,
            &files.key,
            "broken.pem: not a certificate in PEM form",
        ),
        (
            &files.key,
            &files.key,
            "key.pem: there is no certificate in it",
        ),
        (&files.certificate, &missing, "missing.pem: No such file"),
        (
            &files.certificate,
            &empty,
            "empty.pem: there is no private key in it",
        ),
        (
            &files.certificate,
            &others.key,
            "key.pem: the key is not the one of",
        ),
    ];
    for (certificate, key, expected) in cases {
        let message = message(certificate, key);
        assert!(message.contains(expected), "{message}");
    }
    let file = Some(empty.clone());
    let message = ClientConfig::load(&Roots { file }).unwrap_err().to_string();
    assert!(
        message.contains("empty.pem: there is no certificate"),
        "{message}"
    );
}
